// SPDX-License-Identifier: GPL-2.0-or-later
//
// enable-protocol and disable-protocol: what is said of what was planned and written. An existing
// rule is the operator's decision, also one that drops; it is reported and stays as it is.
#include <algorithm>
#include <utility>
#include <vector>

#include "ctl/admission.hpp"
#include "ctl/firewall_commands.hpp"
#include "ctl/packet_options.hpp"
#include "firewall/describe.hpp"
#include "firewall/plan.hpp"

namespace culvert::ctl {

using firewall::Backend;
using firewall::Edit;
using firewall::Family;
using firewall::HostFirewall;
using firewall::Opening;
using firewall::Plan;
using firewall::Ruleset;
using firewall::Selector;
using firewall::Trouble;

namespace {

/// Sentences in order; those that are alike for both families are said once.
class Remarks {
public:
    /// `says_family`: it names a rule or a sender, and so the family.
    void add(std::string sentence, const Selector& selector, bool says_family) {
        for (Remark& remark : remarks_) {
            if (remark.sentence == sentence) {
                (selector.family == Family::ipv4 ? remark.four : remark.six) = true;
                return;
            }
        }
        const bool four = says_family || selector.family == Family::ipv4;
        const bool six = says_family || selector.family == Family::ipv6;
        remarks_.push_back({std::move(sentence), four, six});
    }

    [[nodiscard]] std::string text(std::string_view in_front) const {
        std::string all;
        for (const Remark& remark : remarks_) {
            const std::string_view family = remark.four && remark.six ? ""
                                            : remark.four             ? " (IPv4)"
                                                                      : " (IPv6)";
            all += std::string(in_front) + remark.sentence + std::string(family) + "\n";
        }
        return all;
    }

private:
    struct Remark {
        std::string sentence;
        bool four = false;
        bool six = false;
    };
    std::vector<Remark> remarks_;
};

std::string_view spoken(firewall::Tool tool) {
    return tool == firewall::Tool::nftables ? "nftables" : "iptables";
}

std::string_view spoken(const Backend& backend) {
    return backend.name() == "nftables" ? "nftables" : "iptables";
}

/// What a plan for one backend does, and what is to be said of it.
struct Planned {
    Plan edits;
    Remarks done;  ///< What the edits do.
    Remarks left;  ///< What stays as it is.
    std::vector<Selector> inserted;
};

/// The tools whose chains take the rules: "iptables", "iptables and nftables".
std::string tools_of(const Ruleset& rules, const Plan& edits) {
    std::string all;
    for (const Edit& edit : edits) {
        const std::string_view tool = spoken(rules.chains[edit.chain].tool);
        if (all.find(tool) == std::string::npos) {
            all += (all.empty() ? "" : " and ") + std::string(tool);
        }
    }
    return all;
}

void remark(const Ruleset& rules, const Opening& opening, std::string_view tool, Planned& planned) {
    const std::string what = firewall::to_string(opening.selector);
    const std::string rule =
        opening.rule.has_value() ? firewall::describe(rules, *opening.rule) : "";
    const std::string_view owner =
        opening.rule.has_value() ? spoken(rules.chains[opening.rule->chain].tool) : tool;
    std::string sentence(owner);
    switch (opening.outcome) {
    case Opening::Outcome::inserted:
        return;
    case Opening::Outcome::exists:
        sentence += rule.empty()
                        ? " lets " + what + " pass, no rule is needed"
                        : " already has a rule for " + what + ", not explicitly enabling: " + rule;
        break;
    case Opening::Outcome::refused:
        sentence += " already has a rule for " + what +
                    ", which drops it, not explicitly enabling: " + rule;
        break;
    case Opening::Outcome::no_chain:
        sentence = "nothing filters input with " + sentence + ", not adding a rule for " + what;
        break;
    }
    const bool says_family = opening.rule.has_value() || opening.selector.source.has_value();
    planned.left.add(std::move(sentence), opening.selector, says_family);
}

Planned plan_openings(
    const Ruleset& rules,
    const std::vector<Selector>& wanted,
    const std::string& comment,
    const Backend& backend
) {
    Planned planned;
    for (const Selector& selector : wanted) {
        const firewall::Mark mark = {false, firewall::mark_name(selector), comment};
        const auto plan = firewall::plan_enable(rules, {selector}, mark);
        for (const Opening& opening : plan.openings) {
            remark(rules, opening, spoken(backend), planned);
        }
        if (!plan.edits.empty()) {
            planned.done.add(
                "Enabling " + firewall::to_string(selector) + " with " +
                    tools_of(rules, plan.edits),
                selector,
                selector.source.has_value()
            );
            planned.inserted.push_back(selector);
            planned.edits.insert(planned.edits.end(), plan.edits.begin(), plan.edits.end());
        }
    }
    return planned;
}

/// `rules` with the chains that the backend would make before it inserts; nftables makes none.
Ruleset with_chains(Ruleset rules, const Backend& backend) {
    if (backend.name() == "nftables") {
        return rules;
    }
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        const bool is_there =
            std::any_of(rules.input.begin(), rules.input.end(), [&](const auto& base) {
                return base.is_filter &&
                       firewall::covers(rules.chains[base.chain].families, family);
            });
        if (is_there) {
            continue;
        }
        firewall::Chain chain;
        chain.name = "INPUT";
        chain.table = "filter";
        chain.families =
            family == Family::ipv4 ? firewall::Families::ipv4 : firewall::Families::ipv6;
        Ruleset more;
        more.chains.push_back(std::move(chain));
        more.input.emplace_back();
        rules.add(std::move(more));
    }
    return rules;
}

struct Wish {
    std::vector<Selector> selectors;
    std::string comment;
    bool dry_run = false;
};

/// Opens what is wanted in one backend; whether the backend is there.
bool enable_in(
    Backend& backend,
    const Ruleset& read,
    const Wish& wish,
    LocalAnswer& answer,
    std::vector<Selector>& inserted
) {
    if (wish.dry_run) {
        const Ruleset rules = with_chains(read, backend);
        const Planned planned = plan_openings(rules, wish.selectors, wish.comment, backend);
        answer.text += planned.left.text("# ");
        for (const Edit& edit : planned.edits) {
            answer.text += backend.command_of(rules, edit) + "\n";
        }
        return true;
    }
    Planned planned;
    const auto done = backend.change(
        [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
            planned = plan_openings(rules, wish.selectors, wish.comment, backend);
            return planned.edits;
        },
        true
    );
    if (!done.has_value()) {
        if (done.error().kind == Trouble::Kind::absent) {
            return false;
        }
        answer.complaints.push_back(
            "enabling " + names_of(wish.selectors) + " with " + std::string(spoken(backend)) +
            " failed: " + firewall::on_one_line(done.error().text)
        );
        answer.status = kStatusRefused;
        return true;
    }
    answer.text += planned.left.text("") + planned.done.text("");
    inserted.insert(inserted.end(), planned.inserted.begin(), planned.inserted.end());
    return true;
}

/// Opens in each backend that is the host's firewall, or would be by its first rule.
void enable_in_all(
    HostFirewall& host,
    const HostFirewall::Targets& targets,
    const Wish& wish,
    LocalAnswer& answer,
    std::vector<Selector>& inserted
) {
    const std::string names = names_of(wish.selectors);
    if (targets.targets.empty() && !targets.troubles.empty()) {
        answer.text = "cannot list the firewall's rules, not adding a rule for " + names + "\n";
        return;
    }
    bool is_there = false;
    for (const HostFirewall::Target& target : targets.targets) {
        is_there = enable_in(*target.backend, target.rules, wish, answer, inserted) || is_there;
    }
    // Nothing was ever put into the tables: the first tool that the kernel has makes them.
    for (const auto& backend : host.backends()) {
        is_there = is_there || enable_in(*backend, {}, wish, answer, inserted);
    }
    if (!is_there) {
        answer.text = "the host has no firewall, not adding a rule for " + names + "\n";
    }
}

/// A rule in one chain admits nothing that another chain drops.
void warn_of_drops(HostFirewall& host, const std::vector<Selector>& inserted, LocalAnswer& answer) {
    if (inserted.empty()) {
        return;
    }
    const firewall::Policy policy = host.read();
    const Admissions admissions(policy, entrances());
    for (const Selector& selector : inserted) {
        const Admission admission = admissions.of(selector);
        if (admission.verdict == Admission::Verdict::dropped) {
            answer.complaints.push_back(
                "the rule does not help, " +
                admissions.sentence(selector, admission, name_of(selector.family))
            );
        }
    }
}

/// The rules of the plan whose sources were named; all of them when none was.
Plan only_sources(const Ruleset& rules, Plan plan, const std::vector<Selector>& named) {
    plan.erase(
        std::remove_if(
            plan.begin(),
            plan.end(),
            [&](const Edit& edit) {
                const firewall::Rule& rule = rules.chains[edit.chain].rules[edit.rule];
                return std::none_of(named.begin(), named.end(), [&](const Selector& selector) {
                    const auto opened = firewall::selector_of(rule, selector.family);
                    return opened.has_value() && *opened == selector;
                });
            }
        ),
        plan.end()
    );
    return plan;
}

}  // namespace

LocalAnswer enable_protocol(const LocalCall& call, const MakeFirewall& make) {
    if (call.has("--compat")) {
        return enable_like_ovs_ctl(call, make);
    }
    const auto selectors = read_selectors(call);
    if (!selectors.has_value()) {
        return refuse(selectors.error());
    }
    const auto comment = read_comment(call);
    if (!comment.has_value()) {
        return refuse(comment.error());
    }
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    const Wish wish = {*selectors, *comment, call.has("--dry-run")};
    const auto host = make(*choice);
    const HostFirewall::Targets targets = host->targets();
    LocalAnswer answer;
    std::vector<Selector> inserted;
    complain_of(targets.troubles, answer);
    enable_in_all(*host, targets, wish, answer, inserted);
    warn_of_drops(*host, inserted, answer);
    return answer;
}

LocalAnswer disable_protocol(const LocalCall& call, const MakeFirewall& make) {
    const auto selectors = read_selectors(call);
    if (!selectors.has_value()) {
        return refuse(selectors.error());
    }
    const auto choice = read_backend(call);
    if (!choice.has_value()) {
        return refuse(choice.error());
    }
    const bool by_source = call.has("--source");
    const auto host = make(*choice);
    const HostFirewall::Targets targets = host->targets();
    LocalAnswer answer;
    complain_of(targets.troubles, answer);
    std::size_t count = 0;
    bool has_automatic = false;
    const auto plan_for = [&](const Ruleset& rules) {
        Plan plan = firewall::plan_disable(rules, *selectors);
        return by_source ? only_sources(rules, std::move(plan), *selectors) : plan;
    };
    for (const HostFirewall::Target& target : targets.targets) {
        if (call.has("--dry-run")) {
            for (const Edit& edit : plan_for(target.rules)) {
                answer.text += target.backend->command_of(target.rules, edit) + "\n";
            }
            continue;
        }
        std::size_t erased = 0;
        const auto planner = [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
            Plan plan = plan_for(rules);
            erased = plan.size();
            for (const Edit& edit : plan) {
                const auto mark =
                    firewall::parse_mark(rules.chains[edit.chain].rules[edit.rule].comment);
                has_automatic = has_automatic || (mark.has_value() && mark->automatic);
            }
            return plan;
        };
        const auto done = target.backend->change(planner, false);
        if (done.has_value()) {
            count += erased;
        } else if (done.error().kind == Trouble::Kind::failed) {
            answer.complaints.push_back(firewall::on_one_line(done.error().text));
            answer.status = kStatusRefused;
        }
    }
    const std::string names = names_of(*selectors);
    if (call.has("--dry-run")) {
        answer.text += answer.text.empty() ? "# Culvert has no rule for " + names + "\n" : "";
    } else if (count == 0) {
        answer.text = "Culvert has no rule for " + names + ", nothing to remove\n";
    } else {
        answer.text = "Removed " + std::to_string(count) + (count == 1 ? " rule" : " rules") +
                      " for " + names + "\n";
    }
    if (count > 0 && has_automatic) {
        answer.complaints.emplace_back(
            "some were automatic: a running culvertd inserts them again while [firewall] manage "
            "asks for them"
        );
    }
    return answer;
}

}  // namespace culvert::ctl

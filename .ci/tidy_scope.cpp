// SPDX-License-Identifier: GPL-2.0-or-later
//
// A plugin of clang-tidy 14, built and loaded by .ci/tidy: its checks look at the declarations of
// our own files only. By itself clang-tidy walks through every declaration of the standard library,
// GoogleTest and DPDK for each source file, and then throws away what it found there; that is most
// of its time. The static analyzer is not concerned: it begins at the functions of source files
// anyway.
#include <clang/AST/ASTConsumer.h>
#include <clang/AST/ASTContext.h>
#include <clang/AST/ExternalASTSource.h>
#include <clang/Basic/SourceManager.h>
#include <clang/Frontend/FrontendAction.h>
#include <clang/Frontend/FrontendPluginRegistry.h>

#include <memory>
#include <string>
#include <vector>

namespace {

class ScopeConsumer final : public clang::ASTConsumer {
public:
    void HandleTranslationUnit(clang::ASTContext& context) override {
        const clang::SourceManager& sources = context.getSourceManager();
        const clang::TranslationUnitDecl* unit = context.getTranslationUnitDecl();
        std::vector<clang::Decl*> scope;
        // A precompiled header has nothing of ours; the rest of it stays unread.
        if (clang::ExternalASTSource* precompiled = context.getExternalSource()) {
            llvm::SmallVector<clang::Decl*, 0> records;
            precompiled->FindExternalLexicalDecls(
                unit,
                [](clang::Decl::Kind kind) {
                    return kind >= clang::Decl::firstRecord && kind <= clang::Decl::lastRecord;
                },
                records
            );
            scope.assign(records.begin(), records.end());
        }
        for (clang::Decl* declaration : unit->noload_decls()) {
            const clang::SourceLocation where = sources.getExpansionLoc(declaration->getLocation());
            const bool is_ours = where.isValid() && !sources.isInSystemHeader(where);
            // bugprone-forward-declaration-namespace compares ours with the structures of C
            // headers.
            if (is_ours || llvm::isa<clang::RecordDecl>(declaration)) {
                scope.push_back(declaration);
            }
        }
        context.setTraversalScope(scope);
    }
};

class ScopeAction final : public clang::PluginASTAction {
protected:
    std::unique_ptr<clang::ASTConsumer>
    CreateASTConsumer(clang::CompilerInstance& /*compiler*/, llvm::StringRef /*file*/) override {
        return std::make_unique<ScopeConsumer>();
    }
    bool ParseArgs(
        const clang::CompilerInstance& /*compiler*/, const std::vector<std::string>& /*arguments*/
    ) override {
        return true;
    }
    // The checks' own consumer is the main one.
    ActionType getActionType() override { return AddBeforeMainAction; }
};

const clang::FrontendPluginRegistry::Add<ScopeAction>
    kScope("culvert-scope", "checks look at our files only");

}  // namespace

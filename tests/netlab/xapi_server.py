#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for XAPI, as a program of its own: XML-RPC at / and JSON-RPC (1.0 and 2.0) at /jsonrpc
over HTTP on a unix socket, with sessions, records, and plugins that are run as xapi runs them.

    xapi_server.py --socket /var/lib/xcp/xapi [--records FILE] [--plugins /etc/xapi.d/plugins]

It needs nothing but Python's own library, so it runs in any private root. netlab/xapi.py drives it
by /control, and puts the records in there unless --records has them; calls wait for them until then.
"""

from __future__ import annotations

import argparse
import fnmatch
import http.server
import json
import os
import re
import socketserver
import subprocess
import threading
import time
import uuid
import xml.parsers.expat
import xmlrpc.client

NULL = "OpaqueRef:NULL"


class Failure(Exception):
    """An API failure: a code and its parameters."""

    def __init__(self, *description: object) -> None:
        super().__init__(*description)
        self.description = [str(word) for word in description]


class Drop(Exception):
    """The connection shall end without an answer."""


class Filter:
    """The expressions of get_all_records_where: field "a"="b", true, false, and, or, not, ( )."""

    _TOKEN = re.compile(r'\s*(?:(field|true|false|and|or|not)\b|([()=])|"([^"]*)")')

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = self._TOKEN.match(text, at)
            if found is None:
                raise Failure("INVALID_VALUE", "expr", text)
            word, sign, string = found.groups()
            self._tokens.append(("string", string) if string is not None else ("word", word or sign))
            at = found.end()
        self._at = 0
        self._matches = self._either()
        if self._at != len(self._tokens):
            raise Failure("INVALID_VALUE", "expr", text)

    def __call__(self, record: dict) -> bool:
        return self._matches(record)

    def _take(self, *words: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in [("word", w) for w in words]:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None

    def _string(self) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] != "string":
            raise Failure("INVALID_VALUE", "expr", self._text)
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _either(self):
        left = self._both()
        while self._take("or"):
            left = (lambda a, b: lambda record: a(record) or b(record))(left, self._both())
        return left

    def _both(self):
        left = self._one()
        while self._take("and"):
            left = (lambda a, b: lambda record: a(record) and b(record))(left, self._one())
        return left

    def _one(self):
        if self._take("not"):
            inner = self._one()
            return lambda record: not inner(record)
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                raise Failure("INVALID_VALUE", "expr", self._text)
            return inner
        if constant := self._take("true", "false"):
            return lambda record: constant == "true"
        if not self._take("field"):
            raise Failure("INVALID_VALUE", "expr", self._text)
        name = self._string()
        if not self._take("="):
            raise Failure("INVALID_VALUE", "expr", self._text)
        value = self._string()
        return lambda record: _text_of(record.get(name)) == value


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _for_xml(value: object) -> object:
    """XML-RPC carries integers as strings of digits, and nothing as an empty string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _for_xml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_xml(item) for item in value]
    return value


class Xapi:
    def __init__(self, plugins: str) -> None:
        self.plugins = plugins
        self.records: dict[str, dict[str, dict]] = {}
        self.filled = threading.Event()
        self.lock = threading.RLock()
        self.sessions: set[str] = set()
        self.calls: list[str] = []
        self.plugin_runs: list[dict] = []
        self.troubles: list[dict] = []
        self.released = threading.Event()

    # what the driver does

    def control(self, order: dict) -> object:
        with self.lock:
            match order["op"]:
                case "put":
                    self.records = order["records"]
                    self.filled.set()
                case "records":
                    return self.records
                case "trouble":
                    if order.get("hold"):
                        self.released.clear()
                    self.troubles.append(order)
                case "no-trouble":
                    self.troubles.clear()
                    self.released.set()
                case "calls":
                    return self.calls
                case "plugin-runs":
                    return self.plugin_runs
                case "forget":
                    self.calls.clear()
                    self.plugin_runs.clear()
                case "sessions":
                    return sorted(self.sessions)
                case "end-sessions":
                    self.sessions.clear()
                case "die":
                    os._exit(0)
                case other:
                    raise ValueError(f"no such order: {other}")
        return None

    def _meet_trouble(self, method: str) -> None:
        with self.lock:
            for trouble in self.troubles:
                if not fnmatch.fnmatchcase(method, trouble["method"]):
                    continue
                if trouble["skip"] > 0:
                    trouble["skip"] -= 1
                    continue
                if trouble["times"] is not None:
                    trouble["times"] -= 1
                    if trouble["times"] <= 0:
                        self.troubles.remove(trouble)
                break
            else:
                return
        if trouble.get("seconds"):
            time.sleep(trouble["seconds"])
        if trouble.get("hold"):
            self.released.wait()
        if trouble.get("error"):
            raise Failure(*trouble["error"])
        if trouble.get("drop"):
            raise Drop

    # calls

    def call(self, method: str, params: list) -> object:
        self.filled.wait()
        with self.lock:
            self.calls.append(method)
        self._meet_trouble(method)
        if method in ("session.login_with_password", "session.slave_local_login_with_password"):
            if len(params) < 2:
                raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method, 2, len(params))
            return self.login()
        if not params or params[0] not in self.sessions:
            raise Failure("SESSION_INVALID", params[0] if params else "")
        special = getattr(self, "do_" + method.replace(".", "_"), None)
        if special is not None:
            try:
                return special(*params)
            except TypeError as error:
                if "positional argument" not in str(error):
                    raise
                raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method, "?", len(params)) from None
        with self.lock:
            return self._plain(method, *params[1:])

    def login(self) -> str:
        session = f"OpaqueRef:{uuid.uuid4()}"
        with self.lock:
            self.sessions.add(session)
        return session

    def _record(self, kind: str, ref: str) -> dict:
        if ref not in self.records[kind]:
            raise Failure("HANDLE_INVALID", kind, ref)
        return self.records[kind][ref]

    def _plain(self, method: str, *arguments: object) -> object:
        kind, _, verb = method.partition(".")
        unknown = Failure("MESSAGE_METHOD_UNKNOWN", method)
        if kind not in self.records or not verb:
            raise unknown
        rows = self.records[kind]
        if verb == "get_all":
            return list(rows)
        if verb == "get_all_records":
            return rows
        if not arguments:
            raise Failure("MESSAGE_PARAMETER_COUNT_MISMATCH", method, 2, 1)
        first = arguments[0]
        if verb == "get_all_records_where":
            matches = Filter(first)
            return {ref: record for ref, record in rows.items() if matches(record)}
        if verb == "get_by_uuid":
            for ref, record in rows.items():
                if record["uuid"] == first:
                    return ref
            raise Failure("UUID_INVALID", kind, first)
        if verb == "get_by_name_label":
            return [ref for ref, record in rows.items() if record.get("name_label") == first]
        if verb == "get_record":
            return self._record(kind, first)
        action, _, field = verb.partition("_")
        if action == "add" and field.startswith("to_"):
            values = self._field(kind, first, field[3:], unknown)
            key, value = arguments[1:]
            if key in values:
                raise Failure("MAP_DUPLICATE_KEY", kind, field[3:], first, key)
            values[key] = value
            return None
        if action == "remove" and field.startswith("from_"):
            self._field(kind, first, field[5:], unknown).pop(arguments[1], None)
            return None
        if action not in ("get", "set"):
            raise unknown
        value = self._field(kind, first, field, unknown)
        if action == "get":
            return value
        given = arguments[1]
        whole = isinstance(value, int) and not isinstance(value, bool)
        self._record(kind, first)[field] = int(given) if whole else given
        return None

    def _field(self, kind: str, ref: str, field: str, unknown: Failure) -> object:
        record = self._record(kind, ref)
        if field not in record:
            raise unknown
        return record[field]

    # calls that do more than read or write a field

    def do_session_logout(self, session: str) -> None:
        with self.lock:
            self.sessions.discard(session)

    def do_session_get_this_host(self, _session: str, _of: str) -> str:
        return self.this_host()

    def this_host(self) -> str:
        """The host whose XAPI this is: the first one."""
        return next(iter(self.records["host"]))

    def do_host_call_plugin(self, _session: str, host: str, plugin: str, function: str, args: dict) -> object:
        self._record("host", host)
        if host != self.this_host():
            raise Failure("HOST_OFFLINE", host)
        return self.run_plugin(plugin, function, args)

    def run_plugin(self, plugin: str, function: str, args: dict) -> object:
        """The call as XML-RPC in the only argument, the answer as XML-RPC on standard output."""
        program = os.path.join(self.plugins, plugin)
        if "/" in plugin or not os.access(program, os.X_OK):
            raise Failure("XENAPI_MISSING_PLUGIN", plugin)
        session = self.login()
        try:
            request = xmlrpc.client.dumps((session, args), function)
            done = subprocess.run(
                [program, request], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        finally:
            self.do_session_logout(session)
        run = {"plugin": plugin, "function": function, "stderr": done.stderr, "status": done.returncode}
        try:
            if done.returncode != 0:
                raise Failure("XENAPI_PLUGIN_FAILURE", f"non-zero exit ({done.returncode})", done.stdout, done.stderr)
            try:
                (answer,), _ = xmlrpc.client.loads(done.stdout)
                status = answer["Status"]
            except (xml.parsers.expat.ExpatError, xmlrpc.client.Error, ValueError, KeyError, TypeError) as error:
                raise Failure("XENAPI_PLUGIN_FAILURE", "bad answer", str(error), done.stdout) from None
            if status != "Success":
                raise Failure(*answer["ErrorDescription"])
            run["value"] = answer["Value"]
            return answer["Value"]
        except Failure as failure:
            run["failure"] = failure.description
            raise
        finally:
            with self.lock:
                self.plugin_runs.append(run)

    # the vSwitch controller

    def update_vswitch_controller(self) -> None:
        """The task "updating the vswitch controller". As with xapi, its failure is not the caller's."""
        modern = "SDN_controller" in self.records
        try:
            self.run_plugin("openvswitch-config-update" if modern else "openvswitch-cfg-update", "update", {})
        except Failure as failure:
            print("updating the vswitch controller:", failure.description, flush=True)

    def do_pool_set_vswitch_controller(self, _session: str, address: str) -> None:
        if "SDN_controller" in self.records:
            for ref in list(self.records["SDN_controller"]):
                self.do_SDN_controller_forget(_session, ref)
            if address:
                self.do_SDN_controller_introduce(_session, "ssl", address, 6632)
            return
        with self.lock:
            for pool in self.records["pool"].values():
                pool["vswitch_controller"] = address
        self.update_vswitch_controller()

    def do_SDN_controller_introduce(self, _session: str, protocol: str, address: str, port: object) -> str:
        port = int(port)
        if self.records["SDN_controller"]:
            raise Failure("SDN_CONTROLLER_ALREADY_EXISTS")
        if protocol not in ("ssl", "pssl"):
            raise Failure("FIELD_TYPE_ERROR", "protocol")
        if protocol == "pssl" and (address or port != 0):
            raise Failure("INVALID_VALUE", "address" if address else "port", address or port)
        if protocol == "ssl" and not address:
            raise Failure("INVALID_VALUE", "address", address)
        number = str(uuid.uuid4())
        ref = f"OpaqueRef:{number}"
        with self.lock:
            self.records["SDN_controller"][ref] = {
                "uuid": number,
                "protocol": protocol,
                "address": address,
                "port": port or (6632 if protocol == "ssl" else 0),
            }
        self.update_vswitch_controller()
        return ref

    def do_SDN_controller_forget(self, _session: str, ref: str) -> None:
        with self.lock:
            self._record("SDN_controller", ref)
            del self.records["SDN_controller"][ref]
        self.update_vswitch_controller()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    xapi: Xapi

    def log_message(self, *_arguments: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path == "/control":
                answer = json.dumps(self.xapi.control(json.loads(body)))
                self._answer(200, "application/json", answer.encode())
            elif self.path.startswith("/jsonrpc"):
                self._answer(200, "application/json", self._json(json.loads(body)))
            else:
                self._answer(200, "text/xml", self._xml(body))
        except Drop:
            self.close_connection = True
        except BrokenPipeError:
            self.close_connection = True  # The caller did not wait.
        except Exception as error:  # As xapi answers what it cannot read or did not expect.
            print(f"{self.path}: {error!r}", flush=True)
            text = f"<html><body><h1>HTTP 500 internal server error</h1>{error!r}</body></html>"
            self._answer(500, "text/html", text.encode())

    def _xml(self, body: bytes) -> bytes:
        params, method = xmlrpc.client.loads(body)
        if method is None:
            raise ValueError("no method")
        try:
            answer = {"Status": "Success", "Value": _for_xml(self.xapi.call(method, list(params)))}
        except Failure as failure:
            answer = {"Status": "Failure", "ErrorDescription": failure.description}
        return xmlrpc.client.dumps((answer,), methodresponse=True).encode()

    def _json(self, request: dict) -> bytes:
        method, params, number = request["method"], request["params"], request["id"]
        modern = request.get("jsonrpc") == "2.0"
        try:
            value = self.xapi.call(method, params)
            value = "" if value is None else value
            answer = {"jsonrpc": "2.0", "result": value} if modern else {"result": value, "error": None}
        except Failure as failure:
            code, *data = failure.description
            error = {"code": 1, "message": code, "data": data}
            answer = {"jsonrpc": "2.0", "error": error} if modern else {"result": None, "error": [code, *data]}
        return json.dumps({**answer, "id": number}).encode()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", required=True)
    parser.add_argument("--records", help="JSON: {class: {reference: record}}")
    parser.add_argument("--plugins", default="/etc/xapi.d/plugins")
    options = parser.parse_args()
    xapi = Xapi(options.plugins)
    if options.records:
        with open(options.records, encoding="utf-8") as file:
            xapi.control({"op": "put", "records": json.load(file)})
    os.makedirs(os.path.dirname(options.socket), exist_ok=True)
    if os.path.exists(options.socket):
        os.unlink(options.socket)  # Of one that was killed.
    Handler.xapi = xapi
    with Server(options.socket, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-2.0-or-later
"""The module XenAPI that a XenServer host has, as far as scripts on the host use it: sessions over
XAPI's local socket. Written for the tests, from its documented interface.

It runs with Python 2.7 and 3. XAPI_SOCKET in the environment is for tests that have no private root.
"""

from __future__ import print_function

import os
import socket

try:
    import http.client as http_client
    import xmlrpc.client as xmlrpc_client
except ImportError:
    import httplib as http_client
    import xmlrpclib as xmlrpc_client

SOCKETS = ("/var/lib/xcp/xapi", "/var/xapi/xapi")


class Failure(Exception):
    """`details` is the error's code and its parameters."""

    def __init__(self, details):
        Exception.__init__(self, details)
        self.details = details

    def __str__(self):
        return str(self.details)


class _Connection(http_client.HTTPConnection):
    path = None

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class _Transport(xmlrpc_client.Transport):
    def __init__(self, path):
        xmlrpc_client.Transport.__init__(self)
        self._path = path

    def make_connection(self, host):
        connection = _Connection("localhost")
        connection.path = self._path
        return connection


class _Caller(object):
    """session.xenapi and what follows it: names joined by points, called at the end."""

    def __init__(self, session, name=""):
        self._session = session
        self._name = name

    def __getattr__(self, name):
        return _Caller(self._session, self._name + "." + name if self._name else name)

    def __call__(self, *params):
        return self._session.call(self._name, params)


class Session(object):
    def __init__(self, path):
        self._server = xmlrpc_client.ServerProxy("http://localhost/", transport=_Transport(path))
        self._session = None
        self.xenapi = _Caller(self)

    @property
    def handle(self):
        return self._session

    def call(self, method, params):
        if method in ("login_with_password", "slave_local_login_with_password"):
            self._session = self._value(self._request("session." + method, params))
            return None
        if method == "logout":
            method = "session.logout"
        elif "." not in method:
            raise AttributeError(method)
        return self._value(self._request(method, (self._session,) + tuple(params)))

    def _request(self, method, params):
        return getattr(self._server, method)(*params)

    @staticmethod
    def _value(answer):
        if answer.get("Status") != "Success":
            raise Failure(answer.get("ErrorDescription", ["INTERNAL_ERROR"]))
        return answer["Value"]


def xapi_local():
    """A session, not logged in, with the XAPI of this host."""
    path = os.environ.get("XAPI_SOCKET")
    if path is None:
        path = ([found for found in SOCKETS if os.path.exists(found)] or SOCKETS)[0]
    return Session(path)

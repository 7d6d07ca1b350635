# SPDX-License-Identifier: GPL-2.0-or-later
"""The module XenAPIPlugin that a XenServer host has: how a plugin gets its call and answers it.
Written for the tests, from its documented interface. It runs with Python 2.7 and 3.
"""

from __future__ import print_function

import sys

import XenAPI

try:
    import xmlrpc.client as xmlrpc_client
except ImportError:
    import xmlrpclib as xmlrpc_client


class Failure(Exception):
    """A plugin's failure: `params` is its code and its parameters."""

    def __init__(self, code, params):
        Exception.__init__(self, code, params)
        self.params = [code] + params

    def __str__(self):
        return str(self.params)


def _answer(content):
    return xmlrpc_client.dumps((content,), "", True)


def success_message(result):
    return _answer({"Status": "Success", "Value": result})


def failure_message(description):
    return _answer({"Status": "Failure", "ErrorDescription": description})


def dispatch(functions):
    """Runs the one of `functions` that sys.argv[1] calls, and prints the answer."""
    if len(sys.argv) != 2:
        raise ValueError("A plugin takes one argument, its call as XML-RPC.")
    params, name = xmlrpc_client.loads(sys.argv[1])
    if name not in functions:
        print(failure_message(["UNKNOWN_XENAPI_PLUGIN_FUNCTION", name]))
        return
    session = XenAPI.xapi_local()
    session._session = params[0]
    try:
        print(success_message(functions[name](session, params[1])))
    except Failure as failure:
        print(failure_message(failure.params))
    except Exception as error:  # Whatever it is, the caller gets an answer.
        print(failure_message(["XENAPI_PLUGIN_FAILURE", name, error.__class__.__name__, str(error)]))

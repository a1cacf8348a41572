"""Small questions that the service scripts ask, answered with the standard library only.

    probe.py free-port FIRST     print the first port >= FIRST that nothing on this machine uses
    probe.py http-ok URL         exit 0 if URL answers 200
    probe.py tcp-open PORT       exit 0 if 127.0.0.1:PORT accepts a connection
    probe.py password            print a random password that needs no escaping in a URL
"""

import secrets
import socket
import sys
import urllib.request


def is_free(port):
    # On all addresses and without SO_REUSEPORT: gRPC servers set that option, so that a second one
    # would start on a taken port without complaint and the two would share the callers.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def free_port(first):
    for port in range(first, min(first + 200, 65536)):
        if is_free(port):
            print(port)
            return 0
    print(f"no free port in {first}..{first + 199}", file=sys.stderr)
    return 1


def http_ok(url):
    # Without the proxies of the environment: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1


def tcp_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return 1
    return 0


def main(question, *values):
    if question == "free-port":
        return free_port(int(values[0]))
    if question == "http-ok":
        return http_ok(values[0])
    if question == "tcp-open":
        return tcp_open(int(values[0]))
    if question == "password":
        print(secrets.token_hex(16))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["help"]))

#!/usr/bin/python3
"""Lets a test play the engine or an agent: relay.py ROLE SOCKET is started by the executor and
passes lines between its conversation with the executor and the test's socket."""
import json
import os
import select
import socket
import sys


def main():
    role, path = sys.argv[1], sys.argv[2]
    test = socket.socket(socket.AF_UNIX)
    test.connect(path)
    test.sendall((json.dumps({"role": role, "pid": os.getpid()}) + "\n").encode())
    if role == "engine":
        receive = send = int(os.environ["FAILOVERD_LINK_FD"])
    else:
        receive, send = 0, 1
    os.set_blocking(receive, True)
    sources = [receive, test.fileno()]
    while True:
        for source in select.select(sources, [], [])[0]:
            try:
                data = os.read(source, 65536)
            except ConnectionResetError:
                data = b""
            if source == receive:
                if data:
                    test.sendall(data)
                elif role == "engine":
                    return
                else:  # an agent outlives its executor
                    test.sendall(b'{"type":"(eof)"}\n')
                    sources.remove(receive)
            elif data:
                os.write(send, data)
            else:
                return


main()

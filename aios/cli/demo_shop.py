"""The small real HTTP service that `aios demo` breaks: `python -SE demo_shop.py [--check] CONFIG`; `--check` only reads CONFIG.

It knows nothing of AIOS and imports nothing of it, so that it starts as fast as a service can.
"""

import socket
import sys


def read_config(path: str) -> dict[str, str]:
    """`name = value` lines. Raises ValueError for anything else."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    config = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{path}: not `name = value`: {line!r}")
        config[name.strip()] = value.strip()
    if not config["port"].isdigit():
        raise ValueError(f"{path}: port must be a number")
    return config


def serve(config: dict[str, str]) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(config["port"])))
    listener.listen(64)
    body = config["greeting"].encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    while True:
        client, _ = listener.accept()
        with client:
            try:
                client.settimeout(1.0)
                client.recv(4096)
                client.sendall(answer)
            except OSError:
                continue  # this client went away; the next one may not


if __name__ == "__main__":
    try:
        found = read_config(sys.argv[-1])
    except (OSError, ValueError, KeyError) as error:
        print(f"shop: {error}", file=sys.stderr)
        sys.exit(2)
    if "--check" not in sys.argv:
        serve(found)

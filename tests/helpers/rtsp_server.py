# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A camera that speaks RTSP: a few lines answer its commands, and FFmpeg's muxer packs the frames into RTP."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# MPEG video has a payload type of its own, 32, and needs no parameters.
DESCRIPTION = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 32\r\na=control:track\r\n"


@contextmanager
def rtsp_server(send: Callable[[str], None]) -> Iterator[str]:
    """Yield the address of a camera that can be watched once.

    Args:
        send: sends the video to an address in real time, with FFmpeg's muxer "rtp".
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening, send), daemon=True).start()
        yield f"rtsp://user:secret@127.0.0.1:{listening.getsockname()[1]}/camera"


def _serve(listening: socket.socket, send: Callable[[str], None]) -> None:
    connection, _ = listening.accept()
    listening.close()
    target = ""
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            method, headers = line.split()[0].decode(), {}
            while line := lines.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            answer, body = {"CSeq": headers["cseq"], "Session": "1"}, ""
            if method == "DESCRIBE":
                answer["Content-Type"], body = "application/sdp", DESCRIPTION
            if method == "SETUP":
                ports = re.search(r"client_port=(\d+)-\d+", headers["transport"])
                target = f"rtp://127.0.0.1:{ports[1]}"
                answer["Transport"] = f"RTP/AVP/UDP;unicast;{ports[0]};server_port=9000-9001"
            answer["Content-Length"] = str(len(body))
            fields = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
            connection.sendall(f"RTSP/1.0 200 OK\r\n{fields}\r\n{body}".encode())
            if method == "PLAY":
                threading.Thread(target=send, args=(target,), daemon=True).start()

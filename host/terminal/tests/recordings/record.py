#!/usr/bin/env python3
"""Records what htop and tmux write to a terminal, with nothing of this machine in it.

Each program runs in namespaces of its own, with processes, a directory, a host name and figures
of memory and load that are made up. Needs root: `record.py htop > htop.raw`.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import tempfile
import termios

QUIET = 0.6  # seconds without output, after which the next key is pressed
LONGEST = 2.0  # seconds until it is pressed anyway, as htop is never quiet

MADE_UP = {
    "/proc/meminfo": """\
MemTotal: 4000000 kB
MemFree: 2000000 kB
MemAvailable: 3000000 kB
Buffers: 100000 kB
Cached: 800000 kB
SwapTotal: 1000000 kB
SwapFree: 900000 kB
""",
    "/proc/loadavg": "0.50 0.40 0.30 1/6 20\n",
    "/proc/uptime": "3723.00 3723.00\n",
}

PROGRAMS = {
    "htop": (
        "exec htop --delay 5",
        ["", "", "M", "P", "t", "\x1b[B", "\x1b[B", "I", "h", "", "q", "q"],
    ),
    "tmux": (
        "exec tmux -f /dev/null new-session 'exec bash --norc --noprofile'",
        [
            "ls --color\r",
            "\x02%",
            "exec bash --norc\r",
            "seq 1 200\r",
            '\x02"',
            "exec bash --norc\r",
            "printf '\\x1b[44mblue\\x1b[0m\\n'\r",
            "\x02o",
            "\x02z",
            "\x02z",
            "\x02:",
            "detach-client\r",
        ],
    ),
}

# As agentd answers.
ANSWERS = {
    b"\x1b[c": b"\x1b[?62;22c",
    b"\x1b[>c": b"\x1b[>0;276;0c",
}


def prepare(directory):
    """Leaves processes to look at, files to list, and made-up figures."""
    commands = ["mount -t proc proc /proc", "hostname example"]
    for number, (path, text) in enumerate(MADE_UP.items()):
        made_up = f"{directory}/made-up-{number}"
        with open(made_up, "w", encoding="ascii") as file:
            file.write(text)
        commands.append(f"mount --bind {made_up} {path}")
    commands += [
        f"mount -t tmpfs tmpfs {directory}",
        f"cd {directory}",
        "mkdir docs src target",
        "touch Cargo.toml README.md build.sh notes.txt",
        "chmod +x build.sh",
        "ln -s README.md link",
        "sleep 600 &",
        "sh -c 'while :; do sleep 0.2; done' &",
        "sh -c 'while :; do :; done' &",
    ]
    return "\n".join(commands)


def main():
    command, keys = PROGRAMS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as directory:
        script = f"set -e\n{prepare(directory)}\n{command}\n"
        # The program is the first process of its namespace, whose end ends all the others.
        arguments = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net"]
        arguments += ["sh", "-c", script]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "TMUX_TMPDIR": directory,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "TZ": "UTC",
        }
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execvpe(arguments[0], arguments, environment)
        for key in keys:
            record(master)
            os.write(master, key.encode())
        while record(master):
            pass
        os.waitpid(pid, 0)


def record(master):
    """Copies what is written until it is quiet; false at the end."""
    passed = 0.0
    while passed < LONGEST:
        ready, _, _ = select.select([master], [], [], QUIET)
        if not ready:
            return True
        try:
            written = os.read(master, 65536)
        except OSError:
            return False
        if not written:
            return False
        sys.stdout.buffer.write(written)
        for question, answer in ANSWERS.items():
            if question in written:
                os.write(master, answer)
        passed += 0.1
    return True


main()

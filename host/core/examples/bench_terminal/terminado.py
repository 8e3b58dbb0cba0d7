"""Terminado with the program of the arguments on a terminal for each visitor; prints its port."""

import sys

from terminado import TermSocket, UniqueTermManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application


class Open(TermSocket):
    def check_origin(self, origin):
        return True


manager = UniqueTermManager(shell_command=sys.argv[1:])
server = HTTPServer(Application([("/", Open, {"term_manager": manager})]))
[socket] = bind_sockets(0, "127.0.0.1")
server.add_sockets([socket])
print(socket.getsockname()[1], flush=True)
IOLoop.current().start()

"""Another MLLP server on a port of loopback, which it prints: of another make than server.py. It stores ORU^R01, and answers AE with the
error 207 to all other messages, as an application in trouble does."""

import re
import sys
import threading

from hl7apy.mllp import AbstractErrorHandler, AbstractHandler, MLLPServer
from hl7apy.parser import parse_message


def answer(text, code, error=""):
    control_id = re.split(r"\|", text.split("\r")[0])[9]
    reply = f"MSH|^~\\&|LAB|SOUTH|MEDLEY|OPS|20260101||ACK|1|P|2.5\rMSA|{code}|{control_id}\r{error}"
    return f"\x0b{reply}\x1c\r"


class Stores(AbstractHandler):
    def reply(self):
        message = parse_message(self.incoming_message)
        assert message.msh.msh_9.msh_9_1.value == "ORU"
        return answer(self.incoming_message, "CA")


class Fails(AbstractErrorHandler):
    def reply(self):
        return answer(self.incoming_message, "AE", "ERR|||207^Application internal error|E\r")


server = MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (Stores,), "ERR": (Fails,)})
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
# ends with the test, which holds the other end
sys.stdin.read()

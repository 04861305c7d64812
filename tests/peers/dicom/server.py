"""A DICOM service on a port of loopback, which it prints. The called AE title says what goes wrong with the association."""

import os
import sys
import threading

from pynetdicom import AE, acse, build_context, evt
from pynetdicom.sop_class import CTImageStorage, Verification

# result, source and reason of a rejection (PS3.8 section 9.3.4)
REJECTS = {
    "BUSY": (2, 1, 1),
    "CONGESTED": (1, 3, 1),
    "STRANGER": (1, 1, 3),
    "UNKNOWN": (1, 1, 7),
    "CONTEXT-NAME": (1, 1, 2),
    "VERSION": (1, 2, 2),
}
STATUSES = {"NO-CLASS": 0x0122, "DUPLICATE": 0x0210}

negotiate = acse.ACSE._negotiate_as_acceptor


def for_ever():
    threading.Event().wait()  # ends with the process


def title(assoc):
    return assoc.requestor.primitive.called_ae_title.strip()


def negotiates(self):
    called = title(self.assoc)
    if called in REJECTS:
        self.send_reject(*REJECTS[called])
        self.assoc.kill()
        return
    if called == "SILENT":
        for_ever()
    if called == "ABORTS":
        self.assoc.abort()
        return
    if called == "NO-CONTEXT":
        self.acceptor.supported_contexts = [build_context(CTImageStorage)]
    negotiate(self)


def echo(event):
    called = title(event.assoc)
    if called == "ABORTS-LATER":
        event.assoc.abort()
    if called == "HANGS-UP":
        event.assoc.dul.socket.close()
    if called == "SILENT-LATER":
        for_ever()
    return STATUSES.get(called, 0x0000)


acse.ACSE._negotiate_as_acceptor = negotiates
ae = AE()
ae.add_supported_context(Verification)
ae.maximum_associations = 100
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, echo)])
print(server.socket.getsockname()[1], flush=True)
# ends with the test, which holds the other end
sys.stdin.read()
os._exit(0)  # associations that are left waiting must not keep the process

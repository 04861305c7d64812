"""A DICOM service on a port of loopback, which it prints. The called AE title says what goes wrong with the association, an echo or a
query."""

import os
import sys
import threading
import time

from pydicom.dataset import Dataset
from pynetdicom import AE, acse, build_context, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityWorklistInformationFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

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
# what a query ends with, after one match
QUERY_STATUSES = {"NO-ROOM": 0xA700, "NO-MATCH": 0xA900, "UNABLE": 0xC001, "STOPS": 0xFE00}

negotiate = acse.ACSE._negotiate_as_acceptor
# the queries that were cancelled, by their title
CANCELLED = []


def study(number):
    """A match with what nobody asks for, and what some services put in all the same."""
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    found.PatientName = "DOE^JOHN"
    found.PatientID = "4711"
    found.StudyInstanceUID = f"1.2.3.{number}"
    found.ModalitiesInStudy = ["CT", "SR"]
    found.NumberOfStudyRelatedInstances = number
    return found


def find(event):
    called = title(event.assoc)
    if called == "FEW":
        for number in range(1, 4):
            yield 0xFF00, study(number)
        return
    if called in QUERY_STATUSES:
        yield 0xFF00, study(1)
        yield QUERY_STATUSES[called], None
        return
    number = 0
    while called in ("ENDLESS", "DEAF", "LARGE") and established(event.assoc):
        if event.is_cancelled and called != "DEAF":
            # the test sees by the next association that it was told
            CANCELLED.append(called)
            yield 0xFE00, None
            return
        number += 1
        match = study(number)
        if called == "LARGE":
            match.StudyComments = "x" * 30000
        yield 0xFF00, match
    if called == "HANGS-UP-LATER":
        yield 0xFF00, study(1)
        event.assoc.dul.socket.close()
    if called == "ABORTS-QUERY":
        yield 0xFF00, study(1)
        event.assoc.abort()
    if called == "STALLS":
        yield 0xFF00, study(1)
        for_ever()
    if called == "CANCELLED":
        for number, _ in enumerate(CANCELLED):
            yield 0xFF00, study(number)


def established(assoc):
    """Whether the association stands, once all it has to send is sent: the library reads nothing, no C-CANCEL either, before that."""
    while assoc.is_established and not assoc.dul.to_provider_queue.empty():
        time.sleep(0.001)
    return assoc.is_established


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
for context in (Verification, StudyRootQueryRetrieveInformationModelFind, ModalityWorklistInformationFind):
    ae.add_supported_context(context)
ae.maximum_associations = 100
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, echo), (evt.EVT_C_FIND, find)])
print(server.socket.getsockname()[1], flush=True)
# ends with the test, which holds the other end
sys.stdin.read()
os._exit(0)  # associations that are left waiting must not keep the process

"""A real FHIR server for tests and for examples/radiology-directory: fhirstarter routes, validates and answers; the tasks are kept in memory.

What fhirstarter leaves to an application is here: versions with If-Match, and If-None-Exist by identifier. FHIR_SEQUENCE says which
release it speaks, R4B or R5; an argument where it listens, as ADDRESS:PORT. It writes the port that it got to standard output, and ends when
its standard input does.
"""

import os
import socket
import sys
import threading
from importlib import import_module
from urllib.parse import parse_qs

release = os.environ.setdefault("FHIR_SEQUENCE", "R4B")  # read when fhirstarter is imported

import uvicorn  # noqa: E402
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext  # noqa: E402
from fhirstarter.exceptions import FHIRPreconditionFailedError, FHIRResourceNotFoundError  # noqa: E402

models = "fhir.resources" if release == "R5" else f"fhir.resources.{release}"
Bundle = import_module(f"{models}.bundle").Bundle
Task = import_module(f"{models}.task").Task
tasks: dict[str, Task] = {}
provider = FHIRProvider()


def store(id_: str, version: int, task: Task) -> Task:
    tasks[id_] = Task.model_validate(task.model_dump(mode="json") | {"id": id_, "meta": {"versionId": str(version)}})
    return tasks[id_]


def having(system: str, value: str) -> list[Task]:
    return [t for t in tasks.values() if any((n.system, n.value) == (system, value) for n in t.identifier or [])]


@provider.read(Task)
def task_read(context: InteractionContext, id_: str) -> Task:
    if id_ not in tasks:
        raise FHIRResourceNotFoundError
    return tasks[id_]


@provider.create(Task)
def task_create(context: InteractionContext, resource: Task) -> Task:
    if condition := context.request.headers.get("If-None-Exist"):
        same = having(*parse_qs(condition)["identifier"][0].split("|"))
        if len(same) > 1:
            raise FHIRPreconditionFailedError
        if same:
            return same[0]
    return store(f"t{len(tasks) + 1}", 1, resource)


@provider.update(Task)
def task_update(context: InteractionContext, id_: str, resource: Task) -> Task:
    present = tasks.get(id_)
    wanted = context.request.headers.get("If-Match")
    if wanted is not None and (present is None or wanted != f'W/"{present.meta.versionId}"'):
        raise FHIRPreconditionFailedError
    return store(id_, 1 if present is None else int(present.meta.versionId) + 1, resource)


@provider.search_type(Task)
def task_search(context: InteractionContext, identifier: str | None) -> Bundle:
    found = having(*identifier.split("|")) if identifier else list(tasks.values())
    return Bundle(type="searchset", total=len(found), entry=[{"resource": t} for t in found])


app = FHIRStarter()
app.add_providers(provider)

if __name__ == "__main__":
    address, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").rsplit(":", 1)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listener])

"""An MLLP server on a port of loopback, or at ADDRESS:PORT; it prints the port. It takes ADT^A08 and refuses all other messages, as an
interface engine does."""

import asyncio
import sys

from hl7.mllp import start_hl7_server


async def answer(reader, writer):
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            kind = str(message.segment("MSH")[9])
            writer.writemessage(message.create_ack(ack_code="AA" if kind.startswith("ADT^A08") else "AR"))
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass  # the client has gone
    finally:
        writer.close()


async def main():
    address, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").rsplit(":", 1)
    server = await start_hl7_server(answer, host=address, port=int(port), encoding="utf-8")
    print(server.sockets[0].getsockname()[1], flush=True)
    # ends with the test, which holds the other end
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())

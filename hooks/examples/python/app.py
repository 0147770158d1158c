"""Prints how the command ended, and sends it to HOOK_PYTHON_URL if that is set: a hook for the world of wit/hook.wit."""

import os
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.run import Error_Failed
from wit_world.imports import context, outgoing_handler
from wit_world.imports.context import Killed, NotStarted, Outcome_Exited, Outcome_Killed, Outcome_NotStarted
from wit_world.imports.types import Fields, Method_Post, OutgoingBody, OutgoingRequest, Scheme_Http, Scheme_Https


class Run(exports.Run):
    def run(self) -> None:
        program = context.get_command()[0]
        match context.get_outcome():
            case Outcome_Exited(status):
                end = f'"{program}" exited with {status}'
            case Outcome_Killed(Killed(signal)):
                end = f'"{program}" was killed by signal {signal}'
            case Outcome_NotStarted(NotStarted(reason)):
                end = f'"{program}" was not started: {reason}'
            case other:
                end = f'"{program}" ended: {other}'
        print(end)
        if url := os.environ.get('HOOK_PYTHON_URL'):
            try:
                status = post(url, end.encode())
            except Err as error:  # Of these interfaces. A trap, if it is not caught.
                raise Err(Error_Failed(f'"{url}": {error.value}'))
            if not 200 <= status < 300:
                raise Err(Error_Failed(f'"{url}": answered {status}'))


def post(url: str, body: bytes) -> int:
    """Sends a request and returns the status of the response."""
    parts = urlsplit(url)
    # Without a length the body is sent in chunks.
    request = OutgoingRequest(Fields.from_list([('Content-Length', str(len(body)).encode())]))
    request.set_method(Method_Post())
    request.set_scheme(Scheme_Https() if parts.scheme == 'https' else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path + (f'?{parts.query}' if parts.query else ''))
    outgoing = request.body()
    response = outgoing_handler.handle(request, None)
    with outgoing.write() as stream:
        # At most 4096 bytes at a time.
        stream.blocking_write_and_flush(body)
    OutgoingBody.finish(outgoing, None)
    with response.subscribe() as arrived:
        arrived.block()
    result = response.get()
    # Two results, one in the other: of the future, which can be read once, and of the request.
    for _ in range(2):
        if isinstance(result, Err):
            raise result
        result = result.value
    return result.status()

"""Prints how the command ended: a hook for the world of wit/hook.wit."""

from wit_world import exports
from wit_world.imports import context
from wit_world.imports.context import Killed, NotStarted, Outcome_Exited, Outcome_Killed, Outcome_NotStarted


class Run(exports.Run):
    def run(self) -> None:
        program = context.get_command()[0]
        match context.get_outcome():
            case Outcome_Exited(status):
                print(f'"{program}" exited with {status}')
            case Outcome_Killed(Killed(signal)):
                print(f'"{program}" was killed by signal {signal}')
            case Outcome_NotStarted(NotStarted(reason)):
                print(f'"{program}" was not started: {reason}')
            case other:
                print(f'"{program}" ended: {other}')

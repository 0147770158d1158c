"""What a guest writes about its cases: a line of JSON for each one that has ended, and at last the kernel's version."""

import json
import time
from dataclasses import dataclass


@dataclass
class Results:
    passed: int = 0
    failed: int = 0
    # The kernel on which all cases have been tried.
    complete: str = ""

    def are_good(self):
        return self.complete != "" and self.passed > 0 and self.failed == 0

    def show(self, line):
        try:
            result = json.loads(line)
        except ValueError:
            # The beginning of a line whose end is still to come, when a guest crashed.
            return
        if "complete" in result:
            self.complete = result["complete"]
            return
        print(f"{result['verdict']:6}  {result['case']}  {result['seconds']:.1f} s", flush=True)
        output = result["output"]
        if result["verdict"] == "FAILED":
            self.failed += 1
        else:
            self.passed += result["verdict"] == "ok"
            output = "\n".join(line for line in output.splitlines() if line.startswith("fact: "))
        print(indent(output), end="", flush=True)


def indent(text):
    return "".join(f"        {line}\n" for line in text.splitlines())


def follow(path, ended):
    """Shows the results as they are written to a file, until ENDED() says that there are no more."""
    results, rest = Results(), ""
    while not path.exists() and not ended():
        time.sleep(0.1)
    if not path.exists():
        return results
    with open(path, errors="replace") as file:
        while True:
            last = ended()
            *lines, rest = (rest + file.read()).split("\n")
            for line in lines:
                results.show(line)
            if last:
                return results
            time.sleep(0.1)

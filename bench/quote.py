"""Copies the tables of bench/results.md that docs/performance.md quotes, between its two marks.

    bench/quote.py            after bench/run >bench/results.md
    bench/quote.py --check    only says whether the page has the figures of today
"""

import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
RESULTS, PAGE = REPOSITORY / "bench/results.md", REPOSITORY / "docs/performance.md"
BEGIN, END = "<!-- From bench/results.md, by bench/quote.py. -->\n", "<!-- The end of that. -->\n"
QUOTED = ("while the command sleeps", "a command that exits at once", "with 0.1 CPU", "from the command's exit")


def main():
    tables = [block + "\n" for block in RESULTS.read_text().strip().split("\n\n") if block.startswith("|")]
    quoted = [table for start in QUOTED for table in tables if table.startswith(f"| {start}")]
    if len(quoted) != len(QUOTED):
        sys.exit(f"bench/results.md has {len(quoted)} of the {len(QUOTED)} tables that docs/performance.md quotes")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    wanted = before + BEGIN + "\n" + "\n".join(quoted) + "\n" + END + after
    if "--check" not in sys.argv:
        PAGE.write_text(wanted)
    elif page != wanted:
        sys.exit("docs/performance.md does not have the figures of bench/results.md: run bench/quote.py")


main()

"""Every mutant of every rule and coupling against the other libraries' trajectories: python -m mutants."""

from __future__ import annotations

import sys

from mutants.survivors import EQUIVALENT
from mutants.targets import from_other_starts, targets, through_other_doors


def main() -> int:
    """1 if a mutant survives unexplained, or if an explanation has no survivor."""
    wrong, total, explained = [], 0, 0
    for target in targets():
        reasons = EQUIVALENT.get(target.name, {})
        survivors = {mutant.change for mutant in target.mutants if not target.killed(mutant)}
        total, explained = total + len(target.mutants), explained + len(survivors & set(reasons))
        wrong += [f"{target.name} survives: {change}" for change in sorted(survivors - set(reasons))]
        wrong += [f"{target.name} does not survive: {change}" for change in sorted(set(reasons) - survivors)]
        killed = len(target.mutants) - len(survivors)
        print(f"{target.name:24} {killed:4} killed, {len(survivors):3} survived", flush=True)
    for title, others in (("shares at other doors", through_other_doors()), ("other starts", from_other_starts())):
        found = dict(others)
        wrong += [f"{name}: not seen" for name, seen in found.items() if not seen]
        total += len(found)
        print(f"{title:24} {sum(found.values()):4} killed, {len(found) - sum(found.values()):3} survived", flush=True)
    print(f"{total} mutants, {explained} equivalent and explained, {len(wrong)} wrong")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

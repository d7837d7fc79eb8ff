"""Is a recorded history of one key linearizable? The key is a register with compare-and-swap whose
written values are all different; outcomes may be unknown. The search is that of Wing and Gong with
Lowe's memory of visited configurations."""

from collections import namedtuple

# One operation on one key. @ended is None if its outcome is unknown: then it takes effect at any time
# after it was called, or never. @code is the error that refused it, 0 if it was carried out.
# @value is written; @old is what a comparison asks for. @found is the value that the answer tells of
# before the operation, None if there was none, ANY if the answer does not tell.
Op = namedtuple("Op", "kind value old called ended code found")
ANY = object()

STEPS_MAX = 2000000


class Undecided(Exception):
    """The search has become too long."""


def effect(op, state):
    """(code, state after it) of the operation in a state."""
    if op.kind == "read":
        return (0 if state is not None else 100), state
    if op.kind == "set":
        return 0, op.value
    if op.kind == "create":
        return (0, op.value) if state is None else (105, state)
    if state is None:
        return 100, state
    if op.kind in ("swap", "remove-if") and state != op.old:
        return 101, state
    return 0, None if op.kind in ("delete", "remove-if") else op.value


def step(op, state):
    """(possible, state after it) if the operation takes place in this state."""
    code, after = effect(op, state)
    if op.ended is None:
        # One without an effect might as well never happen.
        return code == 0, after
    if code != op.code or (op.found is not ANY and op.found != state):
        return False, state
    return True, after


def linearizable(ops, initial=None):
    """Whether the operations could have happened one after the other, each between call and end."""
    known = sorted((op for op in ops if op.ended is not None), key=lambda op: op.called)
    unknown = sorted((op for op in ops if op.ended is None and op.kind != "read"), key=lambda op: op.called)
    visited = set()
    # What is done: all known ones before @first, and those of the mask, whose bit 0 is @first.
    stack = [(0, 0, 0, initial)]
    steps = 0
    while stack:
        first, mask, used, state = stack.pop()
        while mask & 1:
            first, mask = first + 1, mask >> 1
        if first == len(known):
            return True
        if (first, mask, used, state) in visited:
            continue
        visited.add((first, mask, used, state))
        steps += 1
        if steps > STEPS_MAX:
            raise Undecided()
        following = []
        horizon = float("inf")
        window = []
        for i in range(first, len(known)):
            if known[i].called > horizon:
                break
            if not mask >> (i - first) & 1:
                window.append(i)
                horizon = min(horizon, known[i].ended)
        for i, op in enumerate(unknown):
            if op.called <= horizon and not used >> i & 1:
                possible, after = step(op, state)
                if possible:
                    following.append((first, mask, used | 1 << i, after))
        for i in reversed(window):
            if known[i].called <= horizon:
                possible, after = step(known[i], state)
                if possible:
                    following.append((first, mask | 1 << (i - first), used, after))
        # The known one that was called first is tried first.
        stack.extend(following)
    return False

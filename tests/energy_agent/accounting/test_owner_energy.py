"""Tenants share a bounded number of owners fairly; no joule is lost, and no counter falls."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.owner_energy import OTHER_OWNERS, OwnerEnergy

LIMIT = 6
TENANTS = ("a", "b", "c")
FAIR = LIMIT // len(TENANTS)
"""How many owners a tenant can have whatever the others do."""

owners = st.tuples(st.sampled_from(TENANTS), st.integers(0, 9))
moves = st.one_of(
    st.tuples(st.just("join"), owners),
    st.tuples(st.just("use"), st.integers(0, 40)),
    st.tuples(st.just("end"), st.integers(0, 40)),
    st.tuples(st.just("restart"), st.none()),
)


class Node:
    """Owners of some workloads, and the states of the journal."""

    def __init__(self) -> None:
        self.owners = OwnerEnergy(limit=LIMIT)
        self.states: dict[tuple[str, str], int] = {}
        self.used: dict[str, tuple[str, int]] = {}  # namespace and energy of each workload that lives
        self.joined: list[tuple[str, tuple[str, str]]] = []
        self.of_namespace: Counter[str] = Counter()
        self.count = 0

    def join(self, owner: tuple[str, str]) -> None:
        name = f"w{self.count}"
        self.count += 1
        self.used[name] = (owner[0], 0)
        self.joined.append((name, owner))
        self.owners.join(name, owner, f"pod {owner[0]}")

    def use(self, number: int) -> None:
        if self.used:
            name = sorted(self.used)[number % len(self.used)]
            namespace, uj = self.used[name]
            self.used[name] = (namespace, uj + number)
            self.of_namespace[namespace] += number

    def sums(self) -> dict[tuple[str, str], int]:
        return self.owners.sums({name: uj for name, (_, uj) in self.used.items()})

    def end(self, number: int) -> None:
        leaving = {}
        if self.used:
            name = sorted(self.used)[number % len(self.used)]
            leaving = {name: self.used.pop(name)[1]}
            self.joined = [each for each in self.joined if each[0] != name]
        for owner, uj in self.owners.states_without(leaving).items():
            if uj is None:
                self.states.pop(owner, None)
            else:
                self.states[owner] = uj
        self.owners.leave(leaving)

    def restart(self) -> None:
        self.owners = OwnerEnergy(limit=LIMIT)
        for owner, uj in self.states.items():
            self.owners.restore(owner, uj)
        for name, owner in self.joined:
            self.owners.join(name, owner, f"pod {owner[0]}")


@given(st.lists(moves, max_size=60))
def test_whatever_owners_are_named_tenants_share_the_limit_and_sums_are_conserved(sequence):
    node = Node()
    named: dict[str, set[str]] = {tenant: set() for tenant in TENANTS}
    for move, value in sequence:
        before = node.sums()
        if move == "join":
            owner = (value[0], f"Job/{value[1]}")
            named[owner[0]].add(owner[1])
            node.join(owner)
        elif move == "restart":
            node.restart()
        else:
            (node.use if move == "use" else node.end)(value)
        uj = node.sums()
        for tenant in TENANTS:
            of_tenant = {owner: value for (namespace, owner), value in uj.items() if namespace == tenant}
            assert sum(of_tenant.values()) == node.of_namespace[tenant]
            tenant_owners = of_tenant.keys() - {OTHER_OWNERS}
            assert tenant_owners <= named[tenant]
            if len(named[tenant]) <= FAIR and move != "restart":
                assert tenant_owners >= named[tenant] & {owner for _, (namespace, owner) in node.joined if namespace == tenant}
                assert not of_tenant.get(OTHER_OWNERS)
        assert sum(owner != OTHER_OWNERS for _, owner in uj) <= LIMIT
        if move != "restart":
            assert all(value <= uj[owner] for owner, value in before.items() if owner in uj)


def test_states_hold_all_energy_of_what_ended_whichever_owners_gave_up_their_place():
    node = Node()
    for number in range(4 * LIMIT):
        node.join(("a", f"Job/{number}"))
        node.use(5 + number)
        node.end(0)
    node.join(("b", "Job/x"))
    node.end(0)
    sums = node.sums()
    node.restart()
    assert node.sums() == sums
    assert sum(sums.values()) == node.of_namespace["a"]
    assert len(node.states) == LIMIT + 1  # the owners that have a series, and the others of a


def test_two_workloads_of_an_owner_that_end_at_once_both_stay_in_its_energy() -> None:
    energy, owner = OwnerEnergy(limit=LIMIT), ("a", "training")
    for workload in ("w0", "w1"):
        energy.join(workload, owner, "pod a")
    leaving = {"w0": 300, "w1": 40}
    assert energy.states_without(leaving) == {owner: 340}
    energy.leave(leaving)
    assert energy.sums({})[owner] == 340

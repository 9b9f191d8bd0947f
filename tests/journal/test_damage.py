"""A segment that was cut or changed gives every frame that is intact, nothing else, and says what it skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from segments import DEAD, EXPERIMENT, end, ids, preface, segment, start

from otel_research.journal.frame import END, START, framed, preamble, seeds_of
from otel_research.journal.reader import Contents, Damage, Frame, frames, seeds_in
from otel_research.store.disk import DiskStore
from otel_research.store.tail import segment_name

NAME = segment_name(DEAD.name, 0).removesuffix(".wal")


def twenty_frames() -> tuple[bytes, list[tuple[int, int]]]:
    """The preface, eight spans with start and end, and the end of one that began elsewhere."""
    spans = [pair for number in range(8) for pair in ((START, start(number)), (END, end(number)))]
    data, places = segment(NAME, [*preface(), *spans, (END, end(8))])
    assert len(places) == 20
    return data, places


def read(data: bytes) -> tuple[list[tuple[int, int, bytes]], list[Damage]]:
    damage: list[Damage] = []
    found = frames(data, seeds_in(data, NAME), 0, damage)
    return [(frame.end, frame.kind, frame.payload) for frame in found], damage


def spans_of(data: bytes) -> tuple[set[bytes], Contents]:
    contents = Contents()
    contents.next_segment(NAME)
    ended = {record.origin.trace_id + record.origin.span_id for record, _ in contents.spans(data)}
    return ended, contents


WHOLE, PLACES = twenty_frames()
FRAMES, _ = read(WHOLE)


def test_twenty_frames_come_back() -> None:
    """An intact segment has them all and no damage."""
    assert len(FRAMES) == 20
    assert [end for end, _, _ in FRAMES] == [end for _, end in PLACES]
    assert read(WHOLE)[1] == []


@pytest.mark.parametrize("tail", [0, 4096], ids=["cut", "then zeros"])
def test_cut_at_every_byte(tail: int) -> None:
    """Every whole frame before the cut is returned, whatever follows; spans that only started stay open."""
    for cut in range(len(WHOLE)):
        data = WHOLE[:cut] + bytes(tail)
        found, _ = read(data)
        # A frame that ends in zeros is whole again where the file was cut among them and zeros follow.
        whole = [frame for frame in FRAMES if WHOLE[: frame[0]] == data[: frame[0]]]
        assert found == whole, cut
        ended, contents = spans_of(data)
        kinds = [kind for _, kind, _ in whole]
        assert len(ended) == kinds.count(END)
        assert len(contents.open) == kinds.count(START) - min(kinds.count(END), 8)


@pytest.mark.parametrize("mask", [0xFF, 0x01, 0x80])
def test_every_byte_changed(mask: int) -> None:
    """A changed byte costs the frame that it lies in, never another one, and never changes what a frame says."""
    for place in range(len(WHOLE)):
        data = bytearray(WHOLE)
        data[place] ^= mask
        found, damage = read(bytes(data))
        intact = [frame for frame, (begin, end) in zip(FRAMES, PLACES, strict=True) if not begin <= place < end]
        assert found == intact, place
        is_seen = sum(part.length for part in damage) > 0
        is_last, is_preamble = place >= PLACES[-1][0], place < PLACES[0][0]
        # Damage of the last frame looks like a torn write: it is in `torn`.
        assert is_seen or is_last or is_preamble, place
        _, contents = spans_of(bytes(data))
        assert contents.torn > 0 or not is_last, place


def test_a_frame_within_a_frame_is_not_one() -> None:
    """A journal that was stored in an attribute gives no span of its own, even when what lies around it is damaged."""
    inner, _ = segment("other-1-ab-000000", [*preface(), (END, end(99))])
    data, places = segment(NAME, [*preface(), (END, end(1, inner.decode("latin-1"))), (END, end(2))])
    hurt = bytearray(data)
    hurt[places[3][0]] ^= 0xFF
    ended, _ = spans_of(bytes(hurt))
    assert ended == {b"".join(ids(2))}


def test_a_renamed_segment_is_read() -> None:
    """The preamble tells the name that the checksums were made with."""
    assert read(WHOLE)[0] == [(f.end, f.kind, f.payload) for f in frames(WHOLE, seeds_in(WHOLE, "another-1-aa-000007"))]


def test_a_length_beyond_reason_is_damage() -> None:
    """A header that claims gigabytes does not hide what follows it."""
    seeds = seeds_of(NAME)
    monster = bytearray(framed(END, b"x", seeds))
    monster[4:8] = (2**31).to_bytes(4, "little")
    data = preamble(NAME) + bytes(monster) + framed(END, end(1), seeds)
    assert [frame.payload for frame in frames(data, seeds)] == [end(1)]
    assert isinstance(next(frames(data, seeds)), Frame)


@pytest.mark.parametrize("place", range(0, len(WHOLE), 61))
def test_the_store_gives_the_intact_rows(tmp_path: Path, place: int) -> None:
    """Through the store: the rows of the intact frames, each once, before and after sealing; the damage is kept."""
    data = bytearray(WHOLE)
    data[place] ^= 0xFF
    journal = tmp_path / EXPERIMENT / "journal"
    journal.mkdir(parents=True)
    (journal / f"{NAME}.wal").write_bytes(bytes(data) + bytes(4096))
    expected = {
        payload[3:19].hex()
        for (_, kind, payload), (begin, end) in zip(FRAMES, PLACES, strict=True)
        if kind in (START, END) and not begin <= place < end
    }
    store = DiskStore(tmp_path)
    before = store.scan(EXPERIMENT).collect()
    assert sorted(before["trace_id"]) == sorted(expected)
    store.seal(EXPERIMENT, is_over=True)
    after = DiskStore(tmp_path).scan(EXPERIMENT).collect()
    assert sorted(after["trace_id"]) == sorted(expected)
    assert sorted(after["status"]) == sorted(before["status"])

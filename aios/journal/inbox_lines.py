"""What stands in a file of the inbox: lines, and what becomes of each. A draft of an event, a copy in quarantine, or nothing.

`inbox` says which file may bring how many; here they are read behind its cursor, checked, given the id that they lack, and told
from those that came before. What cannot be taken is put aside with its reason; a flood of that costs few events.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from aios.events.codec import LINE_MAX, BadLine, encode, parse_foreign
from aios.events.event import Draft, Event
from aios.events.origin import MARK_SPAN, InboxCursor, mark_of, missing_id, origin_begin, origin_text, quarantined
from aios.journal.ids import IdMemory
from aios.journal.inbox_files import Followed, FollowedFiles
from aios.journal.quarantine import Quarantine

_CHUNK = 256 << 10
_LINE_USUAL = 1 << 10
_BYTES_A_TAKE = 8 << 20  # what one `take` may read at most: bounds its time where lines are huge
_SURE_TO_FIT = 12 << 10  # encoding anew makes a line at most four times as long (1e15 becomes 1000000000000000.0)
_SINGLY = 16  # so many bad lines of a take are told one by one; a flood is told by its extent
_NOTHING_DRAFTED = (-1, -1)


class Take:
    """What one `take` has gathered, and what it may still do."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.bytes = _BYTES_A_TAKE
        self.bad = 0
        self.drafts: list[Draft] = []

    @property
    def full(self) -> bool:
        return self.lines <= 0 or self.bytes <= 0


class Lines:
    """See the head of this file."""

    def __init__(self, table: FollowedFiles, quarantine: str, ids: IdMemory) -> None:
        self._table = table
        self._quarantine = Quarantine(table.disk, quarantine, "inbox")
        self._ids = ids
        self._drafted: dict[str, tuple[int, int]] = {}

    def drafted(self, name: str) -> tuple[int, int] | None:
        """Generation and offset behind the last line of it that became an event since the start; None: none did."""
        return self._drafted.get(name)

    def forget(self, name: str) -> None:
        self._drafted.pop(name, None)

    def read(self, file: Followed, take: Take, share: int) -> bool:
        offset = file.cursor.offset + file.skipped
        there = max(0, file.size - offset) + 1  # one more: a short read is then the end, as far as we know
        wanted = min(_CHUNK, LINE_MAX + 1 + share * _LINE_USUAL, there)
        chunk = self._table.disk.pread(file.fd, wanted, offset)
        take.bytes -= len(chunk)
        end = chunk.rfind(b"\n") + 1
        if file.skipped or (not end and len(chunk) > LINE_MAX):
            if self._pass_over(file, chunk, take) or len(chunk) == wanted:
                return True
            self._tell_endless(file)
            return False
        if not end:
            return False
        lines = chunk[: end - 1].split(b"\n", share)
        left_over = len(lines) > share
        if left_over:
            lines.pop()
        take.lines -= len(lines)
        self._lines(file, lines, take)
        return left_over or len(chunk) == wanted

    def _pass_over(self, file: Followed, chunk: bytes, take: Take) -> bool:
        """A line that is too long: on to its end, in as many turns as it takes. Whether the end was found."""
        end = chunk.find(b"\n") + 1
        file.skipped += end or len(chunk)
        if end:
            self._put_aside_long(file, file.skipped, take)
        return end > 0

    def _tell_endless(self, file: Followed) -> None:
        """Once: its program has stopped inside a line that is too long already, and what it writes next belongs to that."""
        if not file.endless:
            file.endless = True
            data = {"file": f"inbox/{file.name}.jsonl", "error": f"a line of more than {LINE_MAX} bytes that has no end yet"}
            self._table.news.append(Draft(type="journal.inbox_failed", subject="host", data=data))

    def _put_aside_long(self, file: Followed, length: int, take: Take) -> None:
        begin = file.cursor.offset
        head = self._table.disk.pread(file.fd, LINE_MAX, begin)
        tail = self._table.disk.pread(file.fd, MARK_SPAN, begin + length - MARK_SPAN)
        self._move(file, length, crc32(tail))
        file.skipped, file.endless = 0, False
        take.lines -= 1
        self._put_aside(file, head, f"longer than {LINE_MAX} bytes", take)

    def take_half_line(self, old: Followed, take: Take) -> None:
        """Nothing comes any more: what stands behind the last newline is a line, or what a program did not get to write."""
        cursor = old.cursor
        left = old.size - cursor.offset
        if left > LINE_MAX:
            self._put_aside_long(old, left, take)
        elif left > 0:
            self._lines(old, [self._table.disk.pread(old.fd, left, cursor.offset)], take, newline=b"")

    def _move(self, file: Followed, length: int, mark: int) -> None:
        device, inode, generation, offset, _, _ = file.cursor
        file.cursor = InboxCursor(device, inode, generation, offset + length, length, mark)

    def _lines(self, file: Followed, lines: Sequence[bytes], take: Take, newline: bytes = b"\n") -> None:
        """The next lines of it, of which each stood before a newline (but for the last one of a file that is gone).

        What lines of one file share is made once, and the cursor moves behind the last of them: there may be a million.
        """
        device, inode, generation, offset, length, mark = file.cursor
        begin, source, drafts = origin_begin(file.name, file.cursor), file.source, take.drafts
        drafted = -1
        for line in lines:
            raw = line + newline
            length = len(raw)
            mark = crc32(raw) if length <= MARK_SPAN else mark_of(raw)
            origin = f"{begin}{offset}+{length}~{mark:08x}"
            offset += length
            if length <= 2 and not raw.strip():
                continue  # an empty line says nothing
            try:
                draft = self._draft(source, raw, origin, mark)
            except BadLine as bad:
                file.cursor = InboxCursor(device, inode, generation, offset, length, mark)
                self._put_aside(file, raw, str(bad), take)
                drafted = offset
                continue
            if draft is not None:
                drafts.append(draft)
                drafted = offset
        file.cursor = InboxCursor(device, inode, generation, offset, length, mark)
        if drafted >= 0:
            self._note(file, drafted)

    def _note(self, file: Followed, offset: int) -> None:
        """An event comes of what ends there; the journal is to hold it before the file may go."""
        generation = file.cursor.generation
        if generation >= self._drafted.get(file.name, _NOTHING_DRAFTED)[0]:
            self._drafted[file.name] = generation, offset

    def _draft(self, source: str, raw: bytes, origin: str, mark: int) -> Draft | None:
        """None for a line that was taken before. Raises BadLine."""
        fresh = "" if b'"id"' in raw else missing_id(origin, raw)
        draft = parse_foreign(raw, source=source, origin=origin, fresh_id=fresh)
        if len(raw) > _SURE_TO_FIT:
            check_that_it_fits(draft)
        if not draft.id:
            return draft._replace(id=missing_id(origin, raw))
        if draft.id == fresh:
            return draft
        met = self._ids.meet(draft.id, mark)
        if met == "other":
            raise BadLine("this id was used before, for another line")
        return draft if met == "new" else None

    def _put_aside(self, file: Followed, raw: bytes, reason: str, take: Take) -> None:
        """The line that ends at the cursor is bad."""
        cursor = file.cursor
        place = f"inbox/{file.name}.jsonl"
        begin = cursor.offset - cursor.length
        kept = self._quarantine.keep(raw, file=place, offset=begin, length=cursor.length, reason=reason)
        take.bad += 1
        self._note(file, cursor.offset)
        origin = origin_text(file.name, cursor)
        if take.bad > _SINGLY and take.drafts and self._extend(take.drafts, place, cursor, origin):
            return
        take.drafts.append(quarantined(file=place, offset=begin, length=cursor.length, reason=reason, kept=kept, origin=origin))

    def _extend(self, drafts: list[Draft], place: str, cursor: InboxCursor, origin: str) -> bool:
        """In a flood: let the last draft tell of this line too, if that was about the line just before."""
        last = drafts[-1]
        if last.type != "journal.quarantined" or last.data["file"] != place:
            return False
        begin = last.data["offset"]
        if begin + last.data["length"] != cursor.offset - cursor.length:
            return False
        lines = last.data.get("lines", 1) + 1
        drafts[-1] = last._replace(data={**last.data, "length": cursor.offset - begin, "lines": lines}, origin=origin)
        return True


def check_that_it_fits(draft: Draft) -> None:
    """Raises BadLine when the line, written anew with the attributes it will get, is too long."""
    at = draft.time or "2026-02-24T08:15:30.123456Z"
    encode(
        Event(
            draft.id,
            draft.source,
            draft.type,
            draft.subject,
            at,
            draft.data,
            "2026-02-24T08:15:30.123456Z",
            "critical",
            draft.origin,
            draft.causationid,
            "0" * 64,
        )
    )

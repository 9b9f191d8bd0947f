"""The append-only log that makes a span durable before `on_end` returns.

frame     one record on disk: magic, kind, length, crc32, payload
segment   a file (memory-mapped or written) or a buffer in memory that takes frames
log       the segments of one process and one experiment, rolled as they fill
reader    frames back, tolerant of a torn tail and of damage, which it reports
writer    who wrote a segment, and whether that process still lives
"""

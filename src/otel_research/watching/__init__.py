"""Following an experiment while it runs: rules, rolling numbers, subscribers.

follow      rows that are new since one looked last, from whichever process
calls       which of them are calls, and what they cost: looked at again when a trace goes on
rolling     the last calls and the totals so far
events      what a subscriber is told, as plain data
watcher     the thread that does it, in the program itself or beside it

Nothing here is on a span's way: a span is journaled as always, and the journal is read.
"""

"""The OTLP receiver: spans of programs in any language, by HTTP or gRPC, into experiments.

    refusal     why something is not taken, in the words of HTTP and of gRPC
    signals     spans and log records: which messages, what is wrong with one of their members
    owners      whose members a message holds
    inbox       validate, journal, answer; what is due in the background
    desk        one experiment that something is received for
    http, rpc   the two doors; unpack: bodies within their limits
    receiver    sockets, token, and the two doors together
    push        the other way: replay an experiment to any OTLP endpoint

Nothing is converted before it is answered for: what is journaled is the message as it came.
"""

"""Files of spans as experiments: what another program wrote, another tool exported or another machine measured.

door        `import_spans` and `import_files`; the others are loaded when there is a file to import
source      a file or pipe as a stream that can be read twice, and the id its content gives
intake      the rows of one file, batch by batch, to the experiments they belong to
share       what one file brings to one experiment: rows, record, ledger
scores      evaluation results that were logged follow the span they are about
"""

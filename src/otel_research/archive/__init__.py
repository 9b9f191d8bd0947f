"""One folder or prefix that holds an experiment whole, and can be checked without us having been there.

seal       the files, their hashes, and the seal over them
results    the numbers, derived from the files alone
verify     every hash and every number again, offline
restore    an archive back into a store
erase      some spans taken out, with a record of it and a new seal
local, s3  where an archive is put, complete or not at all
"""

"""The receiver: asks for records, checks what is presented, and keeps it as long as it said.

`requests` makes what is asked, `desk` decides on what comes, `cases` and `folder` keep it,
`server` is the door for wallets and `cli` the one for people (spec/receiver.md).
"""

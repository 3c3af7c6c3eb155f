"""The wallet: where a holder keeps his packages and decides who sees what of them.

`keys` derives everything from one seed, `vault` keeps age files at a place the holder
chooses, `consent` matches a request to packages and says it in words, `collect` and
`transfer` speak to providers and receivers, `cli` is `ddtp wallet`. A wallet never talks
to a log: it reads logs through the institutions that it deals with anyway.
"""

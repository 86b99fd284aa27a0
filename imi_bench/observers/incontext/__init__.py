"""Few-shot observers: a vision-language model sees K solved trials and answers one, blind.

::

    solved trials (shots) + one trial, in both orders
        -> prompt -> model -> log-likelihoods of "A" and "B" -> evidence z

`prompt` lays trials out, `shots` draws the solved ones, `scoring` says what a model gives back,
`chat` (any server that speaks OpenAI's protocol) and `transformer` (a local model) are models,
`ledger` keeps every answer and its cost, `observer` puts them together.
"""

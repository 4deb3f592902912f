"""The language of prompts, from text to context; a file a stage, in the order of the road.

`variants` chooses among alternatives, `grammar` parses what is left into a `tree`, `timeline` says what that means at
each step, `chunks` turns the text of a step into tokens, `emphasis` weighs what the text encoder makes of them, and
`context` lays these together. `language` has the programs' choices.
"""

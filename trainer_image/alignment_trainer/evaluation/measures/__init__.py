"""What is measured of the models beside the judges' verdicts: perplexity, classifiers of responses, harness tasks.

Each measure scores batches of items (documents, responses, questions), independently of each other, and gives two
numbers for each: a `Unit`, plain JSON numbers. The runner deals the batches out, keeps the units, and makes a
`Measurement` of them; one model at a time is in memory.
"""

"""Models on very many structures: relaxation, dynamics, screening, exported artefacts.

All structures of a batch share the calls of the model; those that are done leave it and others
take their places. What is done is kept in files, so that a run that was killed goes on.
"""

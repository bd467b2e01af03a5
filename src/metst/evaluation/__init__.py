"""Cross-validation by subject: train and predict every fold, then score all of it together.

``plan.py`` says what is run, ``run.py`` runs it, ``outcome.py`` scores it, ``page.py`` shows it.  A run
folder holds ``run.json`` (the plan), ``trained/<name>/<fold>/`` (what each fold left), ``predictions/<variant>.csv``,
``truth.csv``, ``evaluation.json`` and ``report.html``.
"""

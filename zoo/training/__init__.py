"""Training and fine-tuning: recipes, the Lightning task, losses, reports."""

from zoo.training.finetune import finetune as finetune
from zoo.training.metrics import UNITS as UNITS
from zoo.training.metrics import Evaluation as Evaluation
from zoo.training.metrics import assess as assess
from zoo.training.plan import Options as Options
from zoo.training.recipe import Recipe as Recipe
from zoo.training.references import References as References
from zoo.training.references import fit_references as fit_references
from zoo.training.report import Report as Report
from zoo.training.runner import train as train
from zoo.training.tasks.evaluate import assess_samples as assess_samples

__all__ = [
    "UNITS",
    "Evaluation",
    "Options",
    "Recipe",
    "References",
    "Report",
    "assess",
    "assess_samples",
    "finetune",
    "fit_references",
    "train",
]

"""Tasks of every domain but atoms: tables of kinds and domains, losses, metrics, training."""

from zoo.training.tasks.evaluate import Outcome as Outcome
from zoo.training.tasks.evaluate import assess_samples as assess_samples
from zoo.training.tasks.kinds import DOMAINS as DOMAINS
from zoo.training.tasks.kinds import KINDS as KINDS
from zoo.training.tasks.kinds import Task as Task
from zoo.training.tasks.run import train_samples as train_samples

__all__ = ["DOMAINS", "KINDS", "Outcome", "Task", "assess_samples", "train_samples"]

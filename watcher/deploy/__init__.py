"""Deploying: image → a healthy container that receives the traffic of the service's ports."""

from watcher.deploy.deployer import ContainerDeployer
from watcher.deploy.model import ContainerRecipe, Live, Policy, Published

__all__ = ["ContainerDeployer", "ContainerRecipe", "Live", "Policy", "Published"]

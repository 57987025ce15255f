"""Services that callers make: names in front of deployed model versions, kept running. `Deployments` has them all."""

from yangfan.server.deployments.logic import Deployments
from yangfan.server.deployments.placement import Placement
from yangfan.server.deployments.planning import ModelPlanner, Planned, Planner

__all__ = ["Deployments", "ModelPlanner", "Placement", "Planned", "Planner"]

"""The web as an application of Ray Serve: what a RayService names, `video2lora serve` elsewhere."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# As in the entry points of jobs: where it is set, the catalogue lies there.
CATALOG = "VIDEO2LORA_CATALOG"
# It is reached from elsewhere: tokens are asked for, those of `web-access.json` in the working directory.
_HOST = "0.0.0.0"


class Served(BaseModel):
    """What is served, as the options of `video2lora serve` name it."""

    model_config = ConfigDict(extra="forbid")

    workdir: Path
    profile: str | None = None
    set: list[str] = []
    catalog: str | None = None


def web(served: Served) -> Application:
    """Pages to look at the catalogue and to curate it; one replica, for what it keeps in memory is one."""

    def pages() -> "ASGIApp":
        # Imported where the replica is; whoever deploys it needs none of this.
        from jobs.serve import PICTURES
        from jobs.web.access import Access
        from jobs.web.app import create_app
        from jobs.web.site import Site
        from jobs.workspace import Workspace
        from pipeline.find import LazyEmbedder

        catalog = served.catalog or os.environ.get(CATALOG)
        workspace = Workspace(served.workdir, served.profile, served.set, catalog)
        site = Site(
            workspace.existing_catalog(),
            str(workspace.root),
            workspace.root / PICTURES,
            Access.of(_HOST, workspace.root),
            LazyEmbedder(workspace.profile.embed),
        )
        return create_app(site)

    replica = serve.ingress(pages)()
    return serve.deployment(name="web", num_replicas=1, max_ongoing_requests=100)(replica).bind()

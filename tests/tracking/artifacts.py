"""What W&B's server answers about artifacts, the registry and reports; it keeps what it got, and checks no query."""

from __future__ import annotations

import json
from typing import Any

PROJECT = {"id": "p", "internalId": "UHJvamVjdDp2MTpwOjE=", "name": "p", "entity": {"id": "e", "name": "me"}}
ORGANISATION = {"name": "Org", "orgEntity": {"name": "org-entity"}}
TIME = "2026-01-01T00:00:00Z"


class Artifacts:
    """Versions of artifacts in the order of their arrival: name, type, aliases, and the names of their files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.versions: list[dict[str, Any]] = []
        self.links: list[tuple[str, str, str, list[str], str]] = []  # entity, registry, collection, aliases, id
        self.has_registry = True

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data for a query by its name; None: it is none about artifacts."""
        known = getattr(self, f"_answer_{name}", None)
        return None if known is None else known(variables.get("input") or variables)

    def _answer_ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _answer_CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("artifactCollectionName") or given.get("artifactCollectionNames", ["?"])[0]
        version = {"id": f"{name}-{len(self.versions)}", "name": name, "type": given["artifactTypeName"], "files": []}
        version |= {"aliases": {one["alias"] for one in given.get("aliases") or []}, "digest": given["digest"]}
        self.versions.append(version)
        sequence = {"id": "s", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": version["id"], "state": "PENDING", "artifactSequence": sequence}}}

    def _answer_CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": f"{self.url}/put/m", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _answer_CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = []
        for spec in given["artifactFiles"]:
            self._find(spec["artifactID"])["files"].append(spec["name"])
            node = {"id": spec["name"], "name": spec["name"], "displayName": spec["name"], "uploadHeaders": []}
            node |= {"uploadUrl": f"{self.url}/put/{spec['name']}", "storagePath": spec["name"]}
            nodes.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": spec["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _answer_CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    def _answer_ArtifactByID(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"artifact": self._describe(given["id"])}

    def _answer_FetchOrgInfoFromEntity(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": ORGANISATION if self.has_registry else None, "user": None}}

    def _answer_LinkArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        aliases = [one["alias"] for one in given["aliases"]]
        place = given["entityName"], given["projectName"], given["artifactPortfolioName"]
        self.links.append((*place, aliases, given["artifactID"]))
        project = PROJECT | {"name": place[1], "entity": {"name": place[0]}}
        membership = {"__typename": "ArtifactCollectionMembership", "id": "l", "versionIndex": 0, "createdAt": TIME}
        membership["aliases"] = [{"__typename": "ArtifactAlias", "id": alias, "alias": alias} for alias in aliases]
        membership["artifactCollection"] = {"__typename": "ArtifactPortfolio", "name": place[2], "project": project}
        membership["artifact"] = self._describe(given["artifactID"])
        return {"result": {"versionIndex": 0, "artifactMembership": membership}}

    def _find(self, key: str) -> dict[str, Any]:
        return next(version for version in self.versions if version["id"] == key)

    def _describe(self, key: str) -> dict[str, Any]:
        version = self._find(key)
        sequence = {"__typename": "ArtifactSequence", "name": version["name"], "project": PROJECT}
        found = {"__typename": "Artifact", "id": key, "artifactSequence": sequence, "versionIndex": 0, "tags": []}
        found |= {"artifactType": {"name": version["type"]}, "description": None, "metadata": "{}", "size": 1}
        found |= {"ttlDurationSeconds": -2, "ttlIsInherited": False, "historyStep": None, "state": "COMMITTED"}
        found |= {"digest": version["digest"], "commitHash": None, "fileCount": len(version["files"]), "aliases": []}
        return found | {"createdAt": TIME, "updatedAt": None}


class Views:
    """Saved workspaces and reports, by id."""

    def __init__(self) -> None:
        self.saved: dict[str, dict[str, Any]] = {}

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data for a query by its name; None: it is none about views."""
        if name in ("UpsertView2", "upsertView"):
            key = variables.get("id") or f"Vmlldzo{len(self.saved)}"
            self.saved[key] = self.saved.get(key, {}) | {name: value for name, value in variables.items() if value}
            return {"upsertView": {"view": self._describe(key), "inserted": True}}
        if name == "View":
            found = [self._describe(key) for key, one in self.saved.items() if one["name"] == variables["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": node} for node in found]}}}
        if name == "SpecificReport":
            return {"view": self._describe(variables["reportId"]) if variables["reportId"] in self.saved else None}
        if name == "GetProjects":
            node = PROJECT | {"createdAt": TIME, "entityName": "me", "isBenchmark": False, "user": None}
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [{"cursor": "c", "node": node}], "pageInfo": page, "totalCount": 1}}
        if name == "ProjectInternalId":
            return {"project": PROJECT}
        return None

    def _describe(self, key: str) -> dict[str, Any]:
        view = self.saved[key]
        project = {"id": "p", "name": view["projectName"], "entityName": view["entityName"]}
        found = {"id": key, "type": view.get("type"), "name": view["name"], "displayName": view["displayName"]}
        found |= {
            "description": view.get("description", ""),
            "spec": view["spec"],
            "updatedAt": TIME,
            "createdAt": TIME,
        }
        return json.loads(json.dumps(found | {"project": project}))

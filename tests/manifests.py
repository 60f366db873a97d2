"""Checks a Kubernetes object against the models of Kubernetes' own Python client: names, types, what is required.

python manifests.py launch/rbac.yaml launch/jobset.yaml      (with the packages kubernetes and pyyaml)
"""

import re
import sys
from pathlib import Path

import yaml
from kubernetes import client

PLAIN = {"str": str, "int": int, "bool": bool, "object": object}
JOB_OF_A_SET = "V1JobSpec"


def main() -> None:
    """Checks each object of the files named; those of a JobSet as far as they are Kubernetes' own."""
    for path in map(Path, sys.argv[1:]):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "JobSet":
                check(document["metadata"], "V1ObjectMeta", "metadata")
                for number, job in enumerate(document["spec"]["replicatedJobs"]):
                    check(job["template"]["spec"], JOB_OF_A_SET, f"spec.replicatedJobs[{number}].template.spec")
            else:
                check(document, f"V1{document['kind']}", document["kind"])
            print(f"{path}: {document['kind']} {document['metadata']['name']} is right")


def check(value, kind: str, where: str) -> None:
    """Raises ValueError unless `value` is a `kind`, written as in the client: V1Job, list[str] or dict(str, str)."""
    if items := re.fullmatch(r"(?i:list)\[(.*)\]", kind):
        for number, item in enumerate(_typed(value, list, where)):
            check(item, items[1], f"{where}[{number}]")
    elif entries := re.fullmatch(r"(?i:dict)[\[(](.*), (.*)[\])]", kind):
        for name, entry in _typed(value, dict, where).items():
            check(entry, entries[2], f"{where}.{name}")
    elif kind in PLAIN:
        _typed(value, PLAIN[kind], where)
    else:
        model = getattr(client, kind)
        fields = {written: name for name, written in model.attribute_map.items()}
        for written, entry in _typed(value, dict, where).items():
            if written not in fields:
                raise ValueError(f"{where} has {written!r}; a {kind} has {', '.join(fields)}")
            check(entry, model.openapi_types[fields[written]], f"{where}.{written}")
        model(
            **{fields[written]: entry for written, entry in value.items()}
        )  # raises where a required field is missing


def _typed(value, kind, where):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} is {value!r}; it must be a {kind.__name__}")
    return value


if __name__ == "__main__":
    main()

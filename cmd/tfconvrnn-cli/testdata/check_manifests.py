"""Reads manifests as the models of the Python packages kubernetes and kserve, which are generated from the schemas of
their API servers: required fields, types and the allowed values are checked, and no field may be lost on the way.

usage: check_manifests.py MANIFEST.yaml…
"""

import datetime
import re
import sys

import kserve
import kubernetes.client
import yaml

PLAIN = {"str": str, "bool": bool, "int": int, "float": (int, float), "object": object}


def find(name):
    for package in (kserve, kubernetes.client):
        if hasattr(package, name):
            return getattr(package, name)
    raise AssertionError("there is no model " + name)


def check(kind, value, where):
    """Makes a value the model of a kind, and returns nothing: what is wrong is an error."""
    if value is None:
        raise AssertionError(where + " is empty")
    if match := re.fullmatch(r"(?:list|List)\[(.*)\]", kind):
        assert isinstance(value, list), where + " is no list"
        for i, item in enumerate(value):
            check(match[1], item, f"{where}[{i}]")
        return
    if match := re.fullmatch(r"(?:dict|Dict)[\[(]str, (.*)[\])]", kind):
        assert isinstance(value, dict), where + " is no map"
        for key, item in value.items():
            assert isinstance(key, str), where
            check(match[1], item, f"{where}.{key}")
        return
    if kind == "datetime":
        assert isinstance(value, (str, datetime.datetime)), where
        return
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]) and (kind == "bool" or kind == "object" or not isinstance(value, bool)), f"{where} is no {kind}: {value!r}"
        return
    if kind == "ResourceQuantity":
        return
    model = find(kind)
    assert isinstance(value, dict), f"{where} is no {kind}"
    names = {name: attribute for attribute, name in model.attribute_map.items()}
    unknown = set(value) - set(names)
    assert not unknown, f"{where}: {kind} has no {', '.join(sorted(unknown))}"
    for name, item in value.items():
        check(model.openapi_types[names[name]], item, f"{where}.{name}")
    # Its constructor refuses what is missing, and values that are not allowed.
    try:
        model(**{names[name]: item for name, item in value.items()})
    except ValueError as wrong:
        raise AssertionError(f"{where}: {wrong}") from wrong


KINDS = {
    ("apps/v1", "Deployment"): "V1Deployment",
    ("v1", "Service"): "V1Service",
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
}


def refused(document, change):
    """The check can fail."""
    import copy

    broken = copy.deepcopy(document)
    change(broken["spec"])
    try:
        check(KINDS[broken["apiVersion"], broken["kind"]], broken, "broken")
    except AssertionError:
        return
    raise AssertionError("a broken manifest was taken")


for path in sys.argv[1:]:
    with open(path) as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        kind = KINDS[document["apiVersion"], document["kind"]]
        check(kind, document, document["kind"])
        refused(document, lambda spec: spec.update(replica=1))
        pods = spec["template"]["spec"] if "template" in (spec := document["spec"]) else spec
        if "containers" in pods:
            key = "template" if "template" in spec else None
            of = (lambda s: s[key]["spec"]) if key else (lambda s: s)
            refused(document, lambda s: of(s)["containers"][0].pop("name"))
            refused(document, lambda s: of(s)["containers"][0]["readinessProbe"]["httpGet"].pop("port"))
            refused(document, lambda s: of(s)["containers"][0]["ports"][0].update(containerPort="8080"))
        print(path, document["kind"], "is valid")

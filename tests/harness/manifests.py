#!/usr/bin/env python3
"""What the tests of deploy/ need Python for, each reading stdin and writing JSON: YAML, the schemas of Kubernetes, and
an API server's part in admission policies, whose expressions Google's own CEL runtime evaluates.

    manifests.py yaml                 a list of texts to a list of lists of their documents
    manifests.py validate VERSION     a list of objects to a list of what is wrong with each, null for nothing, and
                                      "no schema" where that version has no such API
    manifests.py admit FILE           a list of objects that are to be created to {"refused": words}, or to
                                      {"object": what the policies in the file make of it}
"""

import functools
import json
import re
import sys

import yaml


class Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a key that comes twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def read(text):
    return [document for document in yaml.load_all(text, Loader) if document is not None]


@functools.cache
def schemas():
    """The package with the schemas, which are megabytes of JSON and takes its time."""
    from kubernetes_validate import utils

    utils.schema_contents = functools.cache(utils.schema_contents)
    return utils


def validate(document, version):
    utils = schemas()
    try:
        utils.validate(document, version, strict=True)
    except utils.SchemaNotFoundError:
        return "no schema"
    except utils.ValidationError as error:
        return ".".join(str(part) for part in error.path) + ": " + error.message


def fields(message):
    """The fields of a protobuf message, each by its number with all its values."""

    def number():
        nonlocal message
        value = shift = 0
        while True:
            byte, message = message[0], message[1:]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    found = {}
    while message:
        key = number()
        length = {0: None, 1: 8, 5: 4}[key & 7] if key & 7 != 2 else number()
        value, message = (number(), message) if length is None else (message[:length], message[length:])
        found.setdefault(key >> 3, []).append(value)
    return found


def mixed_literals(compiled):
    """Whether a list or a map is written down with values of several types, which the API server does not compile
    (ValidateHomogeneousAggregateLiterals). The numbers are those of cel.expr.CheckedExpr."""
    checked = fields(fields(compiled.serialize())[2][0])
    types = {entry[1][0]: entry[2][0] for entry in map(fields, checked[3])}

    def mixed(expressions):
        return len({types.get(fields(expression)[2][0]) for expression in expressions}) > 1

    def walk(expression):
        expression = fields(expression)
        children = {5: (1,), 6: (1, 3), 7: (1,), 9: (2, 4, 5, 6, 7)}
        inner = [fields(node).get(child, []) for kind, numbers in children.items() for node in expression.get(kind, [])
                 for child in numbers]
        entries = [fields(entry) for node in expression.get(8, []) for entry in fields(node).get(2, [])]
        keys, values = ([one for entry in entries for one in entry.get(part, [])] for part in (3, 4))
        lists = [fields(node).get(1, []) for node in expression.get(7, [])] + ([keys, values] if keys else [])
        return any(map(mixed, lists)) or any(walk(child) for group in [*inner, keys, values] for child in group)

    return walk(checked[4][0])


class EvaluationError(Exception):
    """An expression compiles, and has no value for this object."""


class Expressions:
    """The expressions of one policy. Types such as `Object.spec.volumes` become messages made from the schemas of
    Kubernetes, so that a field that is not there, or has another type, does not compile."""

    def __init__(self, policy):
        from cel_expr_python import cel
        from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, struct_pb2

        self.cel, self.pool = cel, descriptor_pool.DescriptorPool()
        file = descriptor_pb2.FileDescriptorProto(name="types.proto", syntax="proto2")
        for known in (any_pb2, struct_pb2):
            copy = descriptor_pb2.FileDescriptorProto()
            known.DESCRIPTOR.CopyToProto(copy)
            self.pool.Add(copy)
            file.dependency.append(copy.name)
        patch = file.message_type.add(name="JSONPatch")
        for number, name in enumerate(("op", "path", "from"), 1):
            patch.field.add(name=name, number=number, label=1, type=9)
        patch.field.add(name="value", number=4, label=1, type=11, type_name=".google.protobuf.Any")
        paths = {match[1] for match in re.finditer(r"\bObject((?:\.\w+)+)\s*\{", json.dumps(policy))}
        for path in paths:
            self.add_type(file, path, paths)
        self.pool.Add(file)

    @staticmethod
    def message(path):
        return "Object" + path.replace(".", "_")

    def add_type(self, file, path, paths):
        version = schemas().latest_version()
        file_name = f"kubernetes-json-schema/v{version}-local-strict/_definitions.json"
        definitions = schemas().schema_contents(file_name, version)["$defs"]

        def resolved(schema):
            while "$ref" in schema:
                schema = definitions[schema["$ref"].rpartition("/")[2]]
            return schema

        schema = definitions["io.k8s.api.core.v1.Pod"]
        for part in path.split(".")[1:]:
            schema = resolved(schema)["properties"][part]
            if "items" in resolved(schema):
                schema = resolved(schema)["items"]
        message = file.message_type.add(name=self.message(path))
        for number, (name, field) in enumerate(sorted(resolved(schema)["properties"].items()), 1):
            field, label = resolved(field), 1
            if "items" in field:
                field, label = resolved(field["items"]), 3
            kinds = {"string": 9, "integer": 3, "boolean": 8}
            kind = next((kinds[kind] for kind in field.get("type", []) if kind in kinds), None)
            of = {"type": kind} if kind else {"type": 11, "type_name": ".google.protobuf.Value"}
            if f"{path}.{name}" in paths:
                of = {"type": 11, "type_name": "." + self.message(f"{path}.{name}")}
            elif "additionalProperties" in field:
                entry = message.nested_type.add(name=name[0].upper() + name[1:] + "Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                entry.field.add(name="value", number=2, label=1, type=11, type_name=".google.protobuf.Value")
                of, label = {"type": 11, "type_name": f".{message.name}.{entry.name}"}, 3
            elif "properties" in field:
                continue  # An object that the policy has no type for.
            message.field.add(name=name, number=number, label=label, **of)

    def evaluate(self, text, type_, data):
        text = re.sub(r"\bObject((?:\.\w+)+)(?=\s*\{)", lambda match: self.message(match[1]), text)
        dyn = self.cel.Type.DYN
        expression = self.cel.NewEnv(self.pool, variables=dict.fromkeys(data, dyn)).compile(text)
        found = expression.return_type().name()
        assert found in (type_, "DYN") or not type_, f"a {found} and no {type_}: {text}"
        assert not mixed_literals(expression), f"values of several types: {text}"
        value = expression.eval(data=data)
        if value.type() == self.cel.Type.ERROR:
            raise EvaluationError(f"{value.value()}: {text}")
        return value.plain_value()

    def hold(self, conditions, data):
        """As the API server judges: one that is false decides, whatever becomes of the others."""
        errors = []
        for condition in conditions:
            try:
                if not self.evaluate(condition["expression"], "BOOL", data):
                    return False
            except EvaluationError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return True

    def plain(self, value):
        """The JSON of what a message of type Any holds."""
        from google.protobuf import json_format, message_factory

        descriptor = self.pool.FindMessageTypeByName(value.type_url.rpartition("/")[2])
        message = message_factory.GetMessageClass(descriptor)()
        message.ParseFromString(value.value)
        return numbers(json_format.MessageToDict(message, descriptor_pool=self.pool), descriptor)


def numbers(value, descriptor):
    """JSON of a message with its whole numbers as numbers, as the API server's conversion leaves those that are safe in
    JSON; protobuf's writes 64 bits as a string."""
    for field in descriptor.fields if isinstance(value, dict) else []:
        item = value.get(field.json_name)
        if item is None:
            continue
        if field.cpp_type == field.CPPTYPE_INT64:
            value[field.json_name] = [int(one) for one in item] if isinstance(item, list) else int(item)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for one in item if isinstance(item, list) else [item]:
                numbers(one, field.message_type)
    return value


def selects(selector, labels):
    holds = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        holds[rule["operator"]](rule["key"], rule.get("values")) for rule in selector.get("matchExpressions", [])
    )


def matches(constraints, thing):
    group, _, version = ("/" + thing["apiVersion"]).rpartition("/")
    resource = thing["kind"].lower() + "s"
    return selects(constraints.get("objectSelector", {}), thing["metadata"].get("labels", {})) and any(
        group.strip("/") in rule["apiGroups"] and version in rule["apiVersions"]
        and resource in rule["resources"] and "CREATE" in rule["operations"]
        for rule in constraints["resourceRules"]
    )


def admit(policies, thing):
    import jsonpatch

    for policy in policies:
        spec = policy["spec"]
        if not policy["kind"].endswith("AdmissionPolicy") or not matches(spec["matchConstraints"], thing):
            continue
        expressions, data = Expressions(policy), {"object": thing}
        if not expressions.hold(spec.get("matchConditions", []), data):
            continue
        data["variables"] = {}
        for variable in spec.get("variables", []):
            data["variables"][variable["name"]] = expressions.evaluate(variable["expression"], None, data)
        for validation in spec.get("validations", []):
            if not expressions.evaluate(validation["expression"], "BOOL", data):
                return {"refused": validation["message"]}
        for mutation in spec.get("mutations", []):
            patches = expressions.evaluate(mutation["jsonPatch"]["expression"], "LIST<JSONPatch>", data)
            patches = [{"op": one.op, "path": one.path, "value": expressions.plain(one.value)} for one in patches]
            thing = data["object"] = jsonpatch.apply_patch(thing, patches)
    return {"object": thing}


def main():
    does, given = sys.argv[1], sys.stdin.read()
    if does == "yaml":
        answer = [read(text) for text in json.loads(given)]
    elif does == "validate":
        answer = [validate(document, sys.argv[2]) for document in json.loads(given)]
    else:
        with open(sys.argv[2], encoding="utf-8") as file:
            policies = read(file.read())
        answer = [admit(policies, thing) for thing in json.loads(given)]
    json.dump(answer, sys.stdout)


main()

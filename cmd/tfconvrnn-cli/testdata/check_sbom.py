"""Validates the CycloneDX document on standard input against CycloneDX's own schema."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
if error:
    sys.exit(f"not valid CycloneDX 1.6: {error}")

"""Reads resources, one JSON object a line, and says of each whether it is FHIR R4B: `ok`, or what is wrong."""

import json
import sys

from fhir.resources.R4B import get_fhir_model_class

for line in sys.stdin:
    resource = json.loads(line)
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        print("ok")
    except Exception as error:  # noqa: BLE001
        print(" ".join(str(error).split()))

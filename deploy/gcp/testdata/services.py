"""Reads Cloud Run services, in YAML from files, as "gcloud run services replace" does before it calls anything.

Arguments: the root of the SDK, then the files. Prints each annotation that gcloud does not know. A
field that the API does not have, or a value of another type, is an exception.
"""

import pathlib
import sys

root = sys.argv[1]
sys.path[:0] = [root + '/lib', root + '/lib/third_party']

from googlecloudsdk.api_lib.run import container_resource, global_methods, k8s_object, revision, service  # noqa: E402
from googlecloudsdk.api_lib.util import apis, messages  # noqa: E402
from googlecloudsdk.core import yaml  # noqa: E402

run = apis.GetMessagesModule(global_methods.SERVERLESS_API_NAME, global_methods.SERVERLESS_API_VERSION)
source = ''.join(pathlib.Path(m.__file__).read_text() for m in (container_resource, k8s_object, revision, service))
for path in sys.argv[2:]:
    tree = yaml.load_path(path)
    messages.DictToMessageWithErrorCheck(tree, run.Service)
    # The API takes any annotation. gcloud names those that have a meaning.
    template = tree['spec']['template']
    for name in list(tree['metadata']['annotations']) + list(template['metadata']['annotations']):
        if "'" + name + "'" not in source and "'/" + name.split('/')[1] + "'" not in source:
            print(path + ': gcloud knows no annotation ' + name)

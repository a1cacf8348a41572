"""Reads a table through the Storage Read API with Google's own client: google_read.py REST_URL GRPC_URL PROJECT TABLE.
Prints what the example `read` prints: rows, bytes of Arrow data, seconds. Runs in the emulator's Python."""

import json, sys, time

import grpc
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport


def main():
    rest, storage, project, table = sys.argv[1:]
    client = bigquery.Client(
        project=project, credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=rest)
    )
    # The library's default bound of 4 MB is below what the server sends.
    channel = grpc.insecure_channel(storage.removeprefix("http://"), [("grpc.max_receive_message_length", -1)])
    read = bigquery_storage_v1.BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    began = time.monotonic()
    arrow = client.list_rows(client.get_table(f"{project}.{table}")).to_arrow(bqstorage_client=read)
    seconds = time.monotonic() - began
    print(json.dumps({"rows": arrow.num_rows, "bytes": arrow.nbytes, "seconds": seconds}))


main()

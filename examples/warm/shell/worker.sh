# Asks for a task, answers it, and asks for the next. Needs curl.
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
head=$(mktemp)
while payload=$(curl -sSf -D "$head" "$api/next"); do
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *\([^[:space:]]*\).*/\1/Ip' "$head")
  echo "task $id: $payload"
  printf '{"hello": %s}' "$payload" | curl -sSf -o "$head" --data-binary @- "$api/$id/response"
done

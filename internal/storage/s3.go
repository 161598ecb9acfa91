package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const (
	s3Scheme = "s3://"
	// attempts is how often a request is made before it counts as failed; between two
	// there are up to longestPause.
	attempts     = 12
	longestPause = 10 * time.Second
	// Objects from multipartBytes on go up in parts of partBytes, each of which is
	// retried by itself.
	multipartBytes = 16 << 20
	partBytes      = 8 << 20
	// A connection that brings nothing for so long is given up.
	stall = 60 * time.Second
)

// bucket is a Store under a prefix of an S3 bucket. An object becomes visible when it
// is whole, which is S3's own promise, as is that it is then what everyone reads.
type bucket struct {
	client         *s3.Client
	transfer       *transfermanager.Client
	transport      *awshttp.BuildableClient
	bucket, prefix string
	pause          time.Duration // the longest
}

func openS3(ctx context.Context, url string) (*bucket, error) {
	return newBucket(ctx, url, longestPause)
}

func newBucket(ctx context.Context, url string, pause time.Duration) (*bucket, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(url, s3Scheme), "/")
	if name == "" {
		return nil, fmt.Errorf("%s: the URL names no bucket; it must be like s3://bucket/name", url)
	}
	b := &bucket{bucket: name, prefix: strings.Trim(prefix, "/"), pause: pause}
	if b.prefix != "" {
		b.prefix += "/"
	}
	b.transport = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout = stall
		t.MaxIdleConnsPerHost = 64
	})
	c, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(b.transport), config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = attempts, pause
			o.Backoff = retry.NewExponentialJitterBackoff(pause)
			// The SDK gives up sooner when many requests fail; a worker that gives up
			// costs more than one that waits.
			o.RateLimiter = ratelimit.None
		})
	}))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", url, ErrRemote, err)
	}
	if c.Region == "" {
		c.Region = "us-east-1" // other servers than AWS's do not care
	}
	b.client = s3.NewFromConfig(c, func(o *s3.Options) {
		// Names of buckets are names of hosts only at AWS.
		o.UsePathStyle = o.BaseEndpoint != nil
		o.DisableLogOutputChecksumValidationSkipped = true // parts have none
	})
	b.transfer = transfermanager.New(b.client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = partBytes, multipartBytes, 2
		o.FailTimeout = time.Minute // to remove the parts of an upload that was given up
	})
	return b, nil
}

func (b *bucket) String() string {
	return s3Scheme + b.bucket + "/" + strings.TrimSuffix(b.prefix, "/")
}

func (b *bucket) Close() error { return nil }

func (b *bucket) key(name string) *string { return aws.String(b.prefix + name) }

// explain names the object, and tells what is not there from what failed.
func (b *bucket) explain(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	url := s3Scheme + b.bucket + "/" + b.prefix + name
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var response *awshttp.ResponseError
	var noKey *types.NoSuchKey
	var notFound *types.NotFound
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode() == "NoSuchBucket":
		return fmt.Errorf("%s: %w: there is no such bucket: %w", url, ErrRemote, err)
	case errors.As(err, &noKey), errors.As(err, &notFound), errors.As(err, &response) &&
		response.HTTPStatusCode() == http.StatusNotFound:
		return fmt.Errorf("%s: %w", url, fs.ErrNotExist)
	}
	return fmt.Errorf("%s: %w: %w", url, ErrRemote, err)
}

func (b *bucket) Put(ctx context.Context, name string, content []byte) error {
	return b.PutFrom(ctx, name, bytes.NewReader(content))
}

func (b *bucket) PutFrom(ctx context.Context, name string, content io.Reader) error {
	_, err := b.transfer.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &b.bucket, Key: b.key(name),
		Body: content})
	return b.explain(ctx, name, err)
}

// copyFrom has the object store copy an object of up to 5 GB, which is the most that it
// copies at once.
func (b *bucket) copyFrom(ctx context.Context, from *bucket, name string) error {
	key := strings.Split(from.bucket+"/"+*from.key(name), "/")
	for i := range key {
		key[i] = url.PathEscape(key[i])
	}
	_, err := b.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &b.bucket, Key: b.key(name),
		CopySource: aws.String(strings.Join(key, "/"))})
	return b.explain(ctx, name, err)
}

func (b *bucket) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, s3Scheme+b.bucket+"/"+b.prefix+name, limit)
}

func (b *bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r := &resumingReader{bucket: b, ctx: ctx, name: name, end: -1}
	return r, r.request()
}

func (b *bucket) ReadAt(ctx context.Context, name string, p []byte, offset int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r := &resumingReader{bucket: b, ctx: ctx, name: name, at: offset, end: offset + int64(len(p)) - 1}
	if err := r.request(); err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// resumingReader reads an object, and asks for the rest where a connection breaks: the
// SDK repeats requests, but not the reading of an answer.
type resumingReader struct {
	bucket *bucket
	ctx    context.Context
	name   string
	etag   *string
	at     int64
	end    int64 // last byte wanted, -1 for all
	size   int64 // of the object
	body   io.ReadCloser
	cancel context.CancelFunc
	timer  *time.Timer
	failed int // in a row
}

// request asks for the object from where the reader is.
func (r *resumingReader) request() error {
	r.drop()
	ctx, cancel := context.WithCancel(r.ctx)
	in := &s3.GetObjectInput{Bucket: &r.bucket.bucket, Key: r.bucket.key(r.name), IfMatch: r.etag}
	switch {
	case r.end >= 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.at, r.end))
	case r.at > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.at))
	}
	out, err := r.bucket.client.GetObject(ctx, in)
	if err != nil {
		cancel()
		return r.bucket.explain(r.ctx, r.name, err)
	}
	if r.etag == nil {
		r.etag = out.ETag
		r.size = r.at + aws.ToInt64(out.ContentLength)
	}
	r.body, r.cancel, r.timer = out.Body, cancel, time.AfterFunc(stall, cancel)
	return nil
}

func (r *resumingReader) drop() {
	if r.body == nil {
		return
	}
	r.timer.Stop()
	r.body.Close()
	r.cancel()
	r.body = nil
}

// Read reads on over broken connections.
func (r *resumingReader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.size {
			return 0, io.EOF
		}
		if r.body == nil {
			if err := r.request(); err != nil {
				return 0, err
			}
		}
		r.timer.Reset(stall)
		n, err := r.body.Read(p)
		if n > 0 {
			r.at, r.failed = r.at+int64(n), 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if cause := context.Cause(r.ctx); cause != nil {
			return 0, cause
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if r.failed++; r.failed >= attempts {
			return 0, r.bucket.explain(r.ctx, r.name, err)
		}
		r.drop()
		select {
		case <-time.After(min(r.bucket.pause, time.Duration(r.failed)*100*time.Millisecond)):
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
}

func (r *resumingReader) Close() error {
	r.drop()
	r.at = r.size
	return nil
}

func (b *bucket) Stat(ctx context.Context, name string) (Object, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: b.key(name)})
	if err != nil {
		return Object{}, b.explain(ctx, name, err)
	}
	return Object{name, aws.ToInt64(out.ContentLength), aws.ToTime(out.LastModified)}, nil
}

func (b *bucket) List(ctx context.Context, prefix string, each func(Object) error) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: b.key(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return b.explain(ctx, prefix, err)
		}
		for _, o := range page.Contents {
			name := strings.TrimPrefix(aws.ToString(o.Key), b.prefix)
			if err := each(Object{name, aws.ToInt64(o.Size), aws.ToTime(o.LastModified)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bucket) Remove(ctx context.Context, name string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.bucket, Key: b.key(name)})
	return b.explain(ctx, name, err)
}

func (b *bucket) RemoveAll(ctx context.Context) error {
	if b.prefix == "" {
		return fmt.Errorf("%s: %w: a whole bucket is not removed", b, ErrRemote)
	}
	const most = 1000 // of one request
	var list []types.ObjectIdentifier
	remove := func() error {
		out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.bucket,
			Delete: &types.Delete{Objects: list, Quiet: aws.Bool(true)}})
		if err == nil && len(out.Errors) > 0 {
			err = fmt.Errorf("%s: %s", aws.ToString(out.Errors[0].Key), aws.ToString(out.Errors[0].Message))
		}
		list = nil
		return b.explain(ctx, "", err)
	}
	err := b.List(ctx, "", func(o Object) error {
		list = append(list, types.ObjectIdentifier{Key: b.key(o.Name)})
		if len(list) == most {
			return remove()
		}
		return nil
	})
	if err == nil && len(list) > 0 {
		err = remove()
	}
	return err
}

using System.Text;
using System.Text.Json.Nodes;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Mms.Tests.Journal.JournalProcess;

namespace SdnEdge.Mms.Tests.Etcd;

/// <summary>The journal in etcd: order, terms, answers that are lost, and every way in which it is damaged.</summary>
public sealed class EtcdJournalTests(EtcdServer server) : IClassFixture<EtcdServer>, IAsyncLifetime
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static int s_prefixes;

    private readonly EtcdClient _etcd = server.Client();
    private readonly string _prefix = $"/journal/{Interlocked.Increment(ref s_prefixes)}";
    private readonly List<EtcdTerm> _terms = [];

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (EtcdTerm term in _terms) await term.DisposeAsync();
        _etcd.Dispose();
    }

    [Fact]
    public async Task Records_come_back_in_order_and_whole_in_the_next_term()
    {
        string id, life;
        await using (EtcdJournal journal = await OpenAsync())
        {
            (id, life) = (journal.Id, journal.Life);
            Assert.Equal(0, journal.Length);
            await journal.AppendAsync(0, [Entry(1), Entry(2)], None);
            await journal.AppendAsync(2, [Entry(3)], None);
            Assert.Equal(3, journal.Length);
        }

        await using EtcdJournal again = await OpenAsync();
        Assert.Equal((id, 3), (again.Id, again.Length));
        Assert.NotEqual(life, again.Life);
        Assert.True(_terms[1].Revision > _terms[0].Revision);
        await again.AppendAsync(3, [Entry(4)], None);
        IReadOnlyList<JournalRecord> all = await again.ReadAsync(0, 100, None);
        Assert.Equal(Enumerable.Range(1, 4).Select(n => Record(n, n == 4 ? again.Life : life)), all);
        Assert.Equal(all.Skip(1).Take(2), await again.ReadAsync(1, 2, None));
        Assert.Empty(await again.ReadAsync(4, 10, None));
    }

    [Fact]
    public async Task It_can_be_read_from_any_record_on_however_the_appends_were_cut()
    {
        var random = new Random(7);
        await using EtcdJournal journal = await OpenAsync();
        var all = new List<JournalRecord>();
        while (all.Count < 150)
        {
            int[] numbers = [.. Enumerable.Range(all.Count + 1, random.Next(1, 9))];
            await journal.AppendAsync(all.Count, [.. numbers.Select(n => Entry(n))], None);
            all.AddRange(numbers.Select(n => Record(n, journal.Life)));
        }

        await using EtcdJournal reader = (await EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None))!;
        for (int i = 0; i < 100; i++)
        {
            (int after, int most) = (random.Next(all.Count + 3), random.Next(40));
            Assert.Equal(all.Skip(after).Take(most), await reader.ReadAsync(after, most, None));
        }

        for (int after = 0; after < all.Count;)
        {
            IReadOnlyList<JournalRecord> next = await reader.ReadAsync(after, random.Next(1, 30), None);
            Assert.Equal(all.Skip(after).Take(next.Count), next);
            after += next.Count;
        }
    }

    [Fact]
    public async Task Two_decisions_on_one_position_are_one_record_and_one_conflict()
    {
        await using EtcdJournal journal = await OpenAsync();
        Task pivot = journal.AppendAsync(0, [Entry(1)], None), abort = journal.AppendAsync(0, [Entry(9), Entry(10)], None);
        await pivot;
        var conflict = await Assert.ThrowsAsync<JournalConflictException>(() => abort);
        Assert.Equal((0, 1), (conflict.Expected, conflict.Actual));
        Assert.Equal([Record(1, journal.Life)], await journal.ReadAsync(0, 100, None));
        await journal.AppendAsync(1, [Entry(2)], None);
    }

    // The fence: its head is right, its position is right, and its term is over.
    [Fact]
    public async Task A_life_whose_lease_is_gone_writes_nothing_whether_another_one_leads_or_not()
    {
        await using EtcdJournal old = await OpenAsync();
        await old.AppendAsync(0, [Entry(1)], None);
        await _terms[0].DisposeAsync();
        var lost = await Assert.ThrowsAsync<LeadershipLostException>(() => old.AppendAsync(1, [Entry(2)], None));
        Assert.Null(lost.Leader);
        await using EtcdJournal next = await OpenAsync();
        lost = await Assert.ThrowsAsync<LeadershipLostException>(() => old.AppendAsync(1, [Entry(2)], None));
        Assert.Equal("mms", lost.Leader?.Name);
        await next.AppendAsync(1, [Entry(2)], None);
        await Assert.ThrowsAsync<LeadershipLostException>(() => old.AppendAsync(1, [Entry(2)], None));
        Assert.Equal([Record(1, old.Life), Record(2, next.Life)], await next.ReadAsync(0, 10, None));
        await Assert.ThrowsAsync<LeadershipLostException>(
            () => EtcdJournal.OpenAsync(_etcd, _prefix, "late", _terms[0].Revision, None));
    }

    // The member has carried it out, and its answer is lost: the next member is asked the same, and it is one append.
    [Fact]
    public async Task An_append_whose_answer_is_lost_is_there_once()
    {
        using var relay = new EtcdRelay(server.Port);
        using EtcdClient client = server.Client(8, relay.Address, server.Address);
        await using EtcdJournal journal = await OpenAsync(client);
        await using EtcdTerm term = _terms[^1];
        await journal.AppendAsync(0, [Entry(1), Entry(2)], None);
        relay.Let(asks: true, answers: false);
        await journal.AppendAsync(2, [Entry(3)], None);
        Assert.True(relay.Swallowed > 0, "nothing was swallowed");
        await journal.AppendAsync(3, [Entry(4)], None);
        Assert.Equal(Enumerable.Range(1, 4).Select(n => Record(n, journal.Life)), await journal.ReadAsync(0, 10, None));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Without_an_answer_it_is_not_known_and_the_same_append_again_is_the_same_record(bool asks)
    {
        using var relay = new EtcdRelay(server.Port);
        using EtcdClient client = server.Client(4, relay.Address);
        await using EtcdJournal journal = await OpenAsync(client);
        await using EtcdTerm term = _terms[^1];
        await AppendAsync(0, Entry(1));
        relay.Let(asks, answers: false);
        var fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => journal.AppendAsync(1, [Entry(2)], None));
        Assert.Equal(JournalFault.Io, fault.Fault);
        Assert.Contains($"{new Uri(relay.Address).Authority}: no answer within 1000 ms", fault.Message, StringComparison.Ordinal);
        Assert.Equal(1, journal.Length);
        relay.Let(asks: true, answers: true);
        await AppendAsync(1, Entry(2));
        await AppendAsync(2, Entry(3));
        Assert.Equal(Enumerable.Range(1, 3).Select(n => Record(n, journal.Life)), await journal.ReadAsync(0, 10, None));

        // etcd may stand still for longer than its answer is waited for.
        Task AppendAsync(long expected, JournalEntry entry) => Patience.UntilAsync(async () =>
        {
            try
            {
                await journal.AppendAsync(expected, [entry], None);
                return true;
            }
            catch (JournalUnavailableException e) when (e.Fault == JournalFault.Io)
            {
                return false;
            }
        }, () => $"etcd takes an append behind {expected}");
    }

    [Fact]
    public async Task A_large_append_is_compressed_and_one_that_etcd_does_not_take_is_told()
    {
        await using EtcdJournal journal = await OpenAsync();
        await journal.AppendAsync(0, [Entry(1, 8_000_000)], None);
        Assert.True((await server.GetAsync($"{_prefix}/records/{1:D19}"))!.Length < 100_000);
        Assert.Equal([Record(1, journal.Life, 8_000_000)], await journal.ReadAsync(0, 10, None));

        // What cannot be compressed.
        byte[] noise = new byte[3_000_000];
        new Random(3).NextBytes(noise);
        var fault = await Assert.ThrowsAsync<JournalUnavailableException>(
            () => journal.AppendAsync(1, [Entry(2) with { Body = Convert.ToBase64String(noise) }], None));
        Assert.Equal(JournalFault.Full, fault.Fault);
        Assert.Contains("--max-request-bytes", fault.Message, StringComparison.Ordinal);
        await journal.AppendAsync(1, [Entry(2)], None);
    }

    [Fact]
    public async Task What_is_damaged_is_told_with_its_place_and_what_is_before_it_can_be_read()
    {
        await using EtcdJournal journal = await OpenAsync();
        for (int n = 1; n <= 6; n += 2) await journal.AppendAsync(n - 1, [Entry(n), Entry(n + 1)], None);
        string third = $"{_prefix}/records/{3:D19}";
        byte[] whole = (await server.GetAsync(third))!;
        string text = Encoding.UTF8.GetString(whole);

        await DamagedAsync(Encoding.UTF8.GetBytes(text.Replace("\"actor\":\"user 0\"", "\"actor\":\"user 1\"", StringComparison.Ordinal)),
            "its checksum is wrong");
        await DamagedAsync(whole[..^9], third);
        await DamagedAsync([1, 2, 3], third);
        await server.DeleteAsync(third);
        await FaultAsync("does not follow the records before it");
        await server.PutAsync(third, whole);
        await using EtcdJournal reader = (await EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None))!;
        Assert.Equal(6, (await reader.ReadAsync(0, 10, None)).Count);

        async Task DamagedAsync(byte[] value, string says)
        {
            await server.PutAsync(third, value);
            await FaultAsync(says);
        }

        async Task FaultAsync(string says)
        {
            await using EtcdJournal damaged = (await EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None))!;
            var fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => damaged.ReadAsync(0, 10, None));
            Assert.Equal((JournalFault.Corrupt, 3), (fault.Fault, fault.Position));
            Assert.Contains(says, fault.Message, StringComparison.Ordinal);
            Assert.Equal(2, (await damaged.ReadAsync(0, 2, None)).Count);
        }
    }

    [Fact]
    public async Task A_head_of_something_else_or_of_a_later_version_is_refused_and_left_as_it_is()
    {
        await server.PutAsync($"{_prefix}/head", "hello"u8.ToArray());
        var fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => OpenAsync());
        Assert.Equal(JournalFault.Corrupt, fault.Fault);
        byte[] later = Encoding.UTF8.GetBytes(
            "{\"schema\":9,\"id\":\"x\",\"product\":\"7.1.0\",\"length\":0,\"first\":0,\"life\":\"\",\"checksum\":1}");
        await server.PutAsync($"{_prefix}/head", later);
        fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None));
        Assert.Equal(JournalFault.TooNew, fault.Fault);
        Assert.Contains("version 7.1.0 (schema 9)", fault.Message, StringComparison.Ordinal);
        Assert.Equal(later, await server.GetAsync($"{_prefix}/head"));
    }

    [Fact]
    public async Task A_reader_sees_what_the_leader_appends_meanwhile_and_may_not_append()
    {
        Assert.Null(await EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None));
        await using EtcdJournal journal = await OpenAsync();
        await using EtcdJournal reader = (await EtcdJournal.OpenReadOnlyAsync(_etcd, _prefix, None))!;
        for (int n = 1; n <= 10; n++)
        {
            await journal.AppendAsync(n - 1, [Entry(n)], None);
            Assert.Equal([Record(n, journal.Life)], await reader.ReadAsync(n - 1, 10, None));
            Assert.Equal(n, reader.Length);
        }

        var fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => reader.AppendAsync(10, [Entry(11)], None));
        Assert.Equal(JournalFault.ReadOnly, fault.Fault);
    }

    // etcd's own quota: its alarm stands until somebody takes it away.
    [Fact]
    public async Task Without_room_in_etcd_nothing_is_written_and_once_there_is_room_it_goes_on()
    {
        var small = new EtcdServer("--quota-backend-bytes", "8388608");
        await small.InitializeAsync();
        try
        {
            using EtcdClient client = small.Client();
            await using EtcdJournal journal = await OpenAsync(client);
            await using EtcdTerm term = _terms[^1];
            await journal.AppendAsync(0, [Entry(1)], None);
            JsonNode reply = new JsonObject();
            for (int i = 0; i < 100 && reply["error"] is null; i++)
            {
                reply = await small.AskAsync("kv/put",
                    new JsonObject { ["key"] = "Zm9v", ["value"] = Convert.ToBase64String(new byte[1_000_000]) });
            }

            var fault = await Assert.ThrowsAsync<JournalUnavailableException>(() => journal.AppendAsync(1, [Entry(2)], None));
            Assert.Equal(JournalFault.Full, fault.Fault);
            Assert.Contains("--quota-backend-bytes", fault.Message, StringComparison.Ordinal);
            Assert.Equal(1, journal.Length);

            await small.AskAsync("kv/deleterange", new JsonObject { ["key"] = "Zm9v" });
            string revision = (string)(await small.AskAsync("kv/range", new JsonObject { ["key"] = "Zm9v" }))["header"]!["revision"]!;
            await small.AskAsync("kv/compaction", new JsonObject { ["revision"] = revision, ["physical"] = true });
            await small.AskAsync("maintenance/defragment", new JsonObject());
            JsonNode alarm = (await small.AskAsync("maintenance/alarm", new JsonObject { ["action"] = "GET" }))["alarms"]![0]!;
            await small.AskAsync("maintenance/alarm", new JsonObject
            {
                ["action"] = "DEACTIVATE", ["alarm"] = "NOSPACE", ["memberID"] = (string)alarm["memberID"]!,
            });
            await journal.AppendAsync(1, [Entry(2)], None);
            Assert.Equal([Record(1, journal.Life), Record(2, journal.Life)], await journal.ReadAsync(0, 10, None));
        }
        finally
        {
            await small.DisposeAsync();
        }
    }

    private async Task<EtcdJournal> OpenAsync(EtcdClient? client = null)
    {
        if (_terms.Count > 0) await _terms[^1].DisposeAsync();
        string life = Guid.NewGuid().ToString("N");
        EtcdTerm term = await new EtcdElection(client ?? _etcd, _prefix, 60).CampaignAsync(
            new LeaderInfo("mms", null, life, "2026-11-30T12:00:00Z"), _ => Task.CompletedTask, None);
        _terms.Add(term);
        return await EtcdJournal.OpenAsync(client ?? _etcd, _prefix, life, term.Revision, None);
    }

    private static JournalRecord Record(long n, string life, int size = 20)
    {
        JournalEntry e = Entry(n, size);
        return new JournalRecord(n, e.At, e.NowNs, life, e.Actor, e.Migration, e.Input, e.Body);
    }
}
